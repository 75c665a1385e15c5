-- arrive(arrival, no): resolve one edge at a counted node. Answers 'fire', 'skip', or nil (wait, or ignored).
-- One resolution per edge, the first one holds (HAZARDS 7); a join remembers that it fired or was skipped.
local function arrive(arrival, no)
  local instance, edge, how, need, total = arrival[1], arrival[2], arrival[3], arrival[4], arrival[5]
  if redis.call('HSETNX', KEYS.ed, instance .. '|' .. edge, how .. ':' .. no) == 0 then return nil end
  if how == 1 then note_reached(instance, edge) end
  local counts = redis.call('HGET', KEYS.jn, instance) or '0|0|0|'
  local taken, not_taken, vetoed, state = string.match(counts, '^(%d+)|(%d+)|(%d+)|(.*)$')
  taken, not_taken, vetoed = tonumber(taken), tonumber(not_taken), tonumber(vetoed)
  if how == 1 then taken = taken + 1 elseif how == 2 then vetoed = vetoed + 1 else not_taken = not_taken + 1 end
  local open = total - taken - not_taken - vetoed
  local verdict
  if state == '' and not beaten(arrival[6]) then
    if vetoed > 0 and (open == 0 or need > 0) then verdict = 'skip'
    elseif need > 0 and taken >= need then verdict = 'fire'
    elseif need > 0 and taken + open < need then verdict = 'skip'
    elseif need == 0 and open == 0 then verdict = taken > 0 and 'fire' or 'skip' end
    if verdict == 'fire' and not reached(instance) then verdict = 'skip' end
    if verdict then state = verdict .. ':' .. no end
  end
  redis.call('HSET', KEYS.jn, instance, taken .. '|' .. not_taken .. '|' .. vetoed .. '|' .. state)
  return verdict
end
