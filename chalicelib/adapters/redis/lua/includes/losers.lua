-- beaten(emit): whether the node was skipped in this scope as a loser: then it starts no more, however it is reached.
local function beaten(emit)
  return redis.call('HEXISTS', KEYS.done, (string.gsub(emit[1], '%.%d+$', '.0'))) == 1
end

-- cancel_losers({{around, first, nodes}...}, epoch, cancel, dropped, stamp): cancel the outstanding tokens of these
-- nodes within the scope `around` (HAZARDS 22), their timers included. Nodes that never started there are skipped in
-- the scope `first`, and noted in `dropped`.
local function cancel_losers(groups, epoch, cancel, dropped, stamp)
  local around = {}
  for _, group in ipairs(groups) do
    for _, node in ipairs(group[3]) do around[node] = group[1] end
  end
  for _, token in ipairs(redis.call('HKEYS', KEYS.tok)) do
    local node, path = string.match(token, '^([^@]*)@([^%[#]*)')
    local scope = around[string.match(node, '^%$%a+:([^:]*)') or node]
    if scope and (scope == '' or path == scope or string.sub(path, 1, #scope + 1) == scope .. '/') then
      cancel(token)
    end
  end
  for _, group in ipairs(groups) do
    for _, node in ipairs(group[3]) do
      local instance = node .. '@' .. group[2]
      local token = instance .. '#' .. epoch .. '.0'
      if redis.call('HSETNX', KEYS.st, instance, token) == 1 then
        redis.call('HSET', KEYS.done, token, stamp .. 'SKIPPED|')
        dropped[#dropped + 1] = token
      end
    end
  end
end
