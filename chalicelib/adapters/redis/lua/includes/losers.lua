-- own(name): the node, or the token of it, that a timer stands for, or a part of a map's items that is to begin.
local function own(name)
  return (string.gsub(name, '^%$(%a+):', {retry = '', arm = '', fan = ''}))
end

-- beaten(emit): whether the node is skipped in this scope as a loser: then it starts no more, however it is reached,
-- nor begins to wait.
local function beaten(emit)
  local named = string.match(emit[1], '^%$arm:(.*)$') or emit[1]
  local skip = string.gsub(named, '%.%d+$', '.0')
  return redis.call('HEXISTS', KEYS.done, skip) == 1 or redis.call('HEXISTS', KEYS.tok, skip) == 1
end

-- beat(token, close, open, lost): cancel a node's outstanding token, or the timer that stands for it. A `$beaten` token
-- then resolves the node's edges as not taken; an item of a map has no edges of its own.
local function beat(token, close, open, lost)
  close(token, 'CANCELLED')
  lost[#lost + 1] = token
  if string.find(token, '[', 1, true) then return end
  local text = '$beaten:' .. own(token)
  open({text, string.match(text, '^[^#]*'), 'i', ''})
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
    node = own(node)
    local scope = around[node]
    local inside = scope and (scope == '' or path == scope or string.sub(path, 1, #scope + 1) == scope .. '/')
    if inside and string.sub(rest, -2) ~= '.0' then
      beat(token, close, open, lost)
      begun[node .. '@' .. path] = true
    end
  end
  for _, group in ipairs(groups) do
    for _, node in ipairs(group[3]) do
      local instance = node .. '@' .. group[2]
      -- what failed before it could wait has no attempt of its own
      local arm = '$arm:' .. instance
      if not begun[instance] and redis.call('HEXISTS', KEYS.st, instance) + redis.call('HEXISTS', KEYS.st, arm) == 0 then
        dropped[#dropped + 1] = instance .. '#' .. epoch .. '.0'
        open({dropped[#dropped], instance, 'i', '{"skip":1}'})
      end
    end
  end
end
