#!lua
-- look: note when the run's tasks were looked through (HAZARDS 15); bookkeeping that no journal has.
-- KEYS  meta
-- ARGV  look   "when|when next", milliseconds
-- Answers
--   OK        noted
--   MISSING   no such run here
if redis.call('EXISTS', KEYS.meta) == 0 then return {'MISSING'} end
redis.call('HSET', KEYS.meta, 'look', ARGV.look)
return {'OK'}
