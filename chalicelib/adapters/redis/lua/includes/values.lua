-- keep_values(c, no): outcomes, the pointers to the newest of them, and run variables with what they were before.
local function keep_values(c, no)
  for _, pair in ipairs(c.val or {}) do redis.call('HSET', KEYS.val, pair[1], no .. '|' .. pair[2]) end
  for _, p in ipairs(c.last or {}) do
    local old = redis.call('HGET', KEYS.last, p[1])
    if not old or string.match(old, '^[^|]*') <= p[2] then redis.call('HSET', KEYS.last, p[1], p[2] .. '|' .. p[3]) end
  end
  for _, pair in ipairs(c.vars or {}) do
    local old = redis.call('HGET', KEYS.vars, pair[1])
    local record = no .. '|' .. (old and string.match(old, '^%d+') or '') .. '|' .. pair[2]
    redis.call('HSET', KEYS.vars, pair[1], record, pair[1] .. '#' .. no, record)
  end
end
