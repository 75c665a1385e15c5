-- put_all(key, words): set these fields, a thousand words a call (HAZARDS 38).
local function put_all(key, words)
  for from = 1, #words, 1000 do redis.call('HSET', key, unpack(words, from, math.min(from + 999, #words))) end
end

-- count_from(since, at): all that began by commit `since` or later and is outstanding counts from `at`.
local function count_from(since, at)
  local all, toks, begun, unsent = redis.call('HGETALL', KEYS.tok), {}, {}, {}
  for i = 1, #all, 2 do
    local no, id, how, data = string.match(all[i + 1], '^(%d+)|([^|]*)|%d+|([^|]*|[^|]*|[^|]*|[^|]*|)(.*)$')
    if tonumber(no) >= since then
      local n, record = #toks, no .. '|' .. id .. '|' .. at .. '|' .. how
      toks[n + 1], begun[n + 1], unsent[n + 1] = all[i], all[i], all[i]
      toks[n + 2], begun[n + 2], unsent[n + 2] = record .. data, record, 'r' .. at
    end
  end
  put_all(KEYS.tok, toks)
  put_all(KEYS.dis, begun)
  put_all(KEYS.ready, unsent)
end

-- note_pause(m, status, no, at): remember the commit by which a pause begins. Where it ends, what began in it counts from
-- there: nothing of it was sent before (SPEC 9). Its records say so for good, so that every send of it has the same time.
local function note_pause(m, status, no, at)
  if not status or (status == 'PAUSED') == (m.paused ~= nil) then return end
  if status == 'PAUSED' then
    redis.call('HSET', KEYS.meta, 'paused', no .. '|' .. at)
  else
    redis.call('HDEL', KEYS.meta, 'paused')
    count_from(m.paused, at)
  end
end
