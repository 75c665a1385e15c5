#!lua
-- unwritten: the journal items above the journaled mark, for a step that must see them written (HAZARDS 3).
-- KEYS  meta tail
-- ARGV  owner   the step
--       now     milliseconds
-- Answers
--   OK, mark, lease, {head, body, ...}   lease 1: the caller writes them; 0: another step is at it (list empty)
--   MISSING                              no such run here
--include meta
local m = read_meta()
if not m then return {'MISSING'} end
--include tail
if grant_lease(m, ARGV.owner, tonumber(ARGV.now), m.no) == 0 then return {'OK', m.mark, 0, {}} end
local items = {}
for n = m.mark + 1, m.no do
  items[#items + 1] = redis.call('HGET', KEYS.tail, tostring(n))
  items[#items + 1] = redis.call('HGET', KEYS.tail, n .. 'c')
end
return {'OK', m.mark, 1, items}
