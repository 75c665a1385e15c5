-- beaten(emit): whether the node is skipped in this scope as a loser: then it starts no more, however it is reached.
local function beaten(emit)
  local skip = string.gsub(emit[1], '%.%d+$', '.0')
  return redis.call('HEXISTS', KEYS.done, skip) == 1 or redis.call('HEXISTS', KEYS.tok, skip) == 1
end

-- cancel_losers({{around, first, nodes}...}, epoch, close, open, lost, dropped): cancel the outstanding tokens of these
-- nodes within the scope `around` (HAZARDS 22), their timers included; those that never started are skipped in the
-- scope `first`. A `$beaten` or skip token for each then resolves the edges that will not be taken.
local function cancel_losers(groups, epoch, close, open, lost, dropped)
  local around, begun = {}, {}
  for _, group in ipairs(groups) do
    for _, node in ipairs(group[3]) do around[node] = group[1] end
  end
  for _, token in ipairs(redis.call('HKEYS', KEYS.tok)) do
    local node, path, rest = string.match(token, '^([^@]*)@([^%[#]*)(.*)$')
    node = string.match(node, '^%$retry:(.*)$') or string.match(node, '^%$arm:(.*)$') or node
    local scope = around[node]
    local inside = scope and (scope == '' or path == scope or string.sub(path, 1, #scope + 1) == scope .. '/')
    if inside and string.sub(rest, -2) ~= '.0' then
      close(token, 'CANCELLED')
      lost[#lost + 1] = token
      begun[node .. '@' .. path] = true
      local instance = '$beaten:' .. node .. '@' .. path
      -- an item of a map has no edges of its own
      if string.sub(rest, 1, 1) ~= '[' then open({instance .. rest, instance, 'i', ''}) end
    end
  end
  for _, group in ipairs(groups) do
    for _, node in ipairs(group[3]) do
      local instance = node .. '@' .. group[2]
      if not begun[instance] and redis.call('HEXISTS', KEYS.st, instance) == 0 then
        dropped[#dropped + 1] = instance .. '#' .. epoch .. '.0'
        open({dropped[#dropped], instance, 'i', '{"skip":1}'})
      end
    end
  end
end
