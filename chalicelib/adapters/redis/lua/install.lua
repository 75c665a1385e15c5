#!lua
-- install: make a run's keys what a folded state says, all or nothing; an empty state leaves none.
-- KEYS  meta tok dis done st val last jn ed vars box tail ready
-- ARGV  state      {hash name = {field, value, field, value, ...}, ...}, JSON
--       replaces   "no|commit id" of the state that is replaced; empty: the run must not be here
-- Answers
--   OK       the run is here now; with a state of no fields it is gone
--   EXISTS   the run is here in another state; nothing changed
local here = redis.call('HMGET', KEYS.meta, 'no', 'cid')
local position = here[1] and (here[1] .. '|' .. here[2]) or ''
if position ~= ARGV.replaces then return {'EXISTS'} end
for _, key in pairs(KEYS) do redis.call('DEL', key) end
for name, pairs in pairs(cjson.decode(ARGV.state)) do
  for i = 1, #pairs, 2 do redis.call('HSET', KEYS[name], pairs[i], pairs[i + 1]) end
end
return {'OK'}
