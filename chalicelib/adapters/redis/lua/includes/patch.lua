-- changed(expect): whether any {hash, field, value} is not as it was planned on; value '' stands for nothing (HAZARDS 7).
local function changed(expect)
  for _, e in ipairs(expect or {}) do
    if (redis.call('HGET', KEYS[e[1]], e[2]) or '') ~= e[3] then return true end
  end
  return false
end

-- patch_counts(c): fields that are dropped and put as they are, such as a patch's changes of edge resolutions and join
-- counts, before any arrival is counted; and meta fields that rise, where that is not past the largest whole number.
local function patch_counts(c)
  for _, d in ipairs(c.drop or {}) do redis.call('HDEL', KEYS[d[1]], d[2]) end
  for _, p in ipairs(c.put or {}) do redis.call('HSET', KEYS[p[1]], p[2], p[3]) end
  for field, count in pairs(c.add or {}) do redis.pcall('HINCRBY', KEYS.meta, field, count) end
end

-- used(c): what the run used (domain/usage.py), where the commit ends it: its caller counts that.
local function used(c)
  return c.final and redis.call('HMGET', KEYS.meta, 'tokens', 'nano_usd') or nil
end

-- still_open(m): the run's `$end` token if it is outstanding, else ''.
local function still_open(m)
  if m.last_end and redis.call('HEXISTS', KEYS.tok, m.last_end) == 1 then return m.last_end end
  return ''
end
