-- cancel_losers({nodes, scope}, cancel, dropped, stamp): cancel the outstanding tokens of these nodes within the scope
-- (HAZARDS 22). Nodes that never started there are skipped, and noted in `dropped`.
local function cancel_losers(spec, cancel, dropped, stamp)
  local wanted, scope = {}, spec[2]
  for _, node in ipairs(spec[1]) do wanted[node] = true end
  for _, token in ipairs(redis.call('HKEYS', KEYS.tok)) do
    local node, path = string.match(token, '^([^@]*)@([^%[#]*)')
    if wanted[node] and (scope == '' or path == scope or string.sub(path, 1, #scope + 1) == scope .. '/') then
      cancel(token)
    end
  end
  for _, node in ipairs(spec[1]) do
    local instance = node .. '@' .. scope
    if redis.call('HSETNX', KEYS.st, instance, instance .. '#0.0') == 1 then
      redis.call('HSET', KEYS.done, instance .. '#0.0', stamp .. 'SKIPPED|')
      dropped[#dropped + 1] = instance
    end
  end
end
