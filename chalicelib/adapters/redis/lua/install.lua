#!lua
-- install: create a run's keys from a folded state, all or nothing.
-- KEYS  meta tok dis done st val last jn ed vars tail ready
-- ARGV  state   {hash name = {field, value, field, value, ...}, ...}, JSON
-- Answers
--   OK       the run is here now
--   EXISTS   the run was here already; nothing changed
if redis.call('EXISTS', KEYS.meta) == 1 then return {'EXISTS'} end
for name, pairs in pairs(cjson.decode(ARGV.state)) do
  for i = 1, #pairs, 2 do redis.call('HSET', KEYS[name], pairs[i], pairs[i + 1]) end
end
return {'OK'}
