-- chosen(c): the outstanding tokens that a commit cancels: all, those it names, and those within a map's instance.
local function chosen(c)
  local found = {}
  if c.all then return redis.call('HKEYS', KEYS.tok) end
  for _, token in ipairs(c.cancel or {}) do
    if redis.call('HEXISTS', KEYS.tok, token) == 1 then found[#found + 1] = token end
  end
  for _, token in ipairs(c.within and redis.call('HKEYS', KEYS.tok) or {}) do
    if string.sub(own(token), 1, #c.within) == c.within then found[#found + 1] = token end
  end
  return found
end

-- unrun(token): how a node ends that does not run: attempt 0 is a skip, another one was cancelled before it began.
local function unrun(token)
  return string.sub(token, -2) == '.0' and 'SKIPPED|' or 'CANCELLED|'
end

-- outlives(token): whether it goes on after a cut: it starts no work, and resolves edges that others wait for. That is
-- a skip, a loser's edges, and a part of a fan-out, which by then starts nothing; not the part that begins a map's items.
local function outlives(token)
  if string.sub(token, -2) == '.0' or string.sub(token, 1, 8) == '$beaten:' then return true end
  return string.sub(token, 1, 5) == '$fan:' and not string.find(token, '[', 1, true)
end

-- stop(c, cancel, beat): cancel what the commit says; where it cuts the run, nodes so that their edges are resolved.
local function stop(c, cancel, beat)
  for _, token in ipairs(chosen(c)) do
    local timer = string.match(token, '^%$(%a*)')
    if c.cut and outlives(token) then -- it goes on
    elseif c.cut and (not timer or timer == 'arm' or timer == 'retry') and not string.find(token, '[', 1, true) then beat(token)
    else cancel(token) end
  end
end
