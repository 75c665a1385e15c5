-- chosen(c): the outstanding tokens that a commit cancels: all, those it names, and those within a map's instance.
local function chosen(c)
  local found = {}
  if c.all then return redis.call('HKEYS', KEYS.tok) end
  for _, token in ipairs(c.cancel or {}) do
    if redis.call('HEXISTS', KEYS.tok, token) == 1 then found[#found + 1] = token end
  end
  for _, token in ipairs(c.within and redis.call('HKEYS', KEYS.tok) or {}) do
    local own = string.match(token, '^%$retry:(.*)$') or string.match(token, '^%$arm:(.*)$') or token
    if string.sub(own, 1, #c.within) == c.within then found[#found + 1] = token end
  end
  return found
end
