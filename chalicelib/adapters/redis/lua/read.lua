#!lua
-- read: values of one run as of a commit; what later commits wrote is not seen (HAZARDS 11).
-- KEYS  meta tok val last jn ed vars box
-- ARGV  call   {as_of, nodes = {{field, ...}, ...}, vars = {...}, edges = {...}, meta = {...},
--               tokens = {...}, joins = {...}, box = {...}}, JSON
-- Answers
--   OK, nodes, vars, edges, meta, tokens, joins, box   lists of texts in the order asked, false where there is nothing
--   MISSING                                no such run here
local call = cjson.decode(ARGV.call)
if redis.call('EXISTS', KEYS.meta) == 0 then return {'MISSING'} end
local as_of = call.as_of

local function known(key)
  local record = redis.call('HGET', KEYS.val, key)
  if record and tonumber(string.match(record, '^%d+')) <= as_of then return record end
  return nil
end

--include newest
local nodes, vars = {}, {}
for i, fields in ipairs(call.nodes) do
  nodes[i] = false
  for _, field in ipairs(fields) do
    local record = string.find(field, '#', 1, true) and known(field) or newest(field, known) -- a '#': that very outcome
    if record then
      nodes[i] = record
      break
    end
  end
end
for i, name in ipairs(call.vars) do
  local record = redis.call('HGET', KEYS.vars, name)
  while record and tonumber(string.match(record, '^%d+')) > as_of do
    local before = string.match(record, '^%d+|(%d*)')
    record = before ~= '' and redis.call('HGET', KEYS.vars, name .. '#' .. before)
  end
  vars[i] = record or false
end
local function many(key, fields)
  local out = {}
  for i, field in ipairs(fields or {}) do out[i] = redis.call('HGET', key, field) end
  return out
end
return {'OK', nodes, vars, many(KEYS.ed, call.edges), many(KEYS.meta, call.meta), many(KEYS.tok, call.tokens),
  many(KEYS.jn, call.joins), many(KEYS.box, call.box)}
