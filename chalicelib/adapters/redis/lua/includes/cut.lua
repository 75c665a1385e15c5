-- After a failure that work of `always` edges outlives (HAZARDS 23): the commit of the newest such failure, or nil.
local cut = c.cut and no or m.cut
-- What this commit settles, and edges that it resolves a second time: those from before the failure stay so.
local old, again = false, {}
if cut and settle and not c.cut then old = tonumber(string.match(redis.call('HGET', tok, settle), '^%d+')) < cut end
for _, d in ipairs(cut and c.drop or {}) do
  if d[1] == 'ed' then again[d[2]] = true end
end
if c.cut then redis.call('HSET', meta, 'cut', no) end

-- note_reached(instance, edge): an edge into a join is taken; from now on the join may run.
local function note_reached(instance, edge)
  if cut and not old and not again[instance .. '|' .. edge] then redis.call('HSET', KEYS.box, 'fresh|' .. instance, no) end
end

-- reached(instance): whether the join may run: nothing was cut, or an edge into it was taken since.
local function reached(instance)
  return not cut or tonumber(redis.call('HGET', KEYS.box, 'fresh|' .. instance) or 0) >= cut
end
