-- newest(field, known): the newest outcome below a pointer field that `known` accepts: later iterations first, then
-- earlier ones, then earlier epochs.
local function newest(field, known)
  local pointer = redis.call('HGET', KEYS.last, field)
  if not pointer then return nil end
  local key = string.match(pointer, '|(.*)$')
  local record = known(key)
  if record then return record end
  local instance, epoch = string.match(key, '^(.*)#(%d+)$')
  if instance == field then
    for e = tonumber(epoch) - 1, 0, -1 do
      record = known(instance .. '#' .. e)
      if record then return record end
    end
    return nil
  end
  local glue = string.sub(field, -1) == '@' and '' or '/'
  local loop, count = string.match(string.sub(instance, #field + #glue + 1), '^([^=]*)=(%d+)')
  for n = tonumber(count), 1, -1 do
    record = newest(field .. glue .. loop .. '=' .. n, known)
    if record then return record end
  end
  return nil
end
