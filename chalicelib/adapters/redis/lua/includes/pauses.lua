-- count_from(token, key, since, at): the record of a token made by commit `since` or later begins at `at`.
local function count_from(token, key, since, at)
  local no, id, rest = string.match(redis.call('HGET', key, token), '^(%d+)|([^|]*)|%d+|(.*)$')
  if tonumber(no) < since then return false end
  redis.call('HSET', key, token, no .. '|' .. id .. '|' .. at .. '|' .. rest)
  return true
end

-- note_pause(m, status, no, at): remember the commit by which a pause begins. Where it ends, what began in it and is
-- outstanding counts from there: nothing of it was sent before (SPEC 9). Its time is then in its records for good, so
-- every send has it.
local function note_pause(m, status, no, at)
  if not status or (status == 'PAUSED') == (m.paused ~= nil) then return end
  if status == 'PAUSED' then
    redis.call('HSET', KEYS.meta, 'paused', no .. '|' .. at)
    return
  end
  redis.call('HDEL', KEYS.meta, 'paused')
  for _, token in ipairs(redis.call('HKEYS', KEYS.tok)) do
    if count_from(token, KEYS.tok, m.paused, at) then
      count_from(token, KEYS.dis, m.paused, at)
      if redis.call('HEXISTS', KEYS.ready, token) == 1 then redis.call('HSET', KEYS.ready, token, 'r' .. at) end
    end
  end
end
