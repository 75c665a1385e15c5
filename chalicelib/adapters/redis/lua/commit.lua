#!lua
-- commit: apply one commit to a run, atomically, and append its journal item to the unwritten tail.
-- KEYS  meta tok dis done st val last jn ed vars box tail ready
-- ARGV  body     the commit, JSON, journaled as it is (domain/commit.py)
--       control  {owner, now, acks = {{no, id}...}, created = no, expect = {{hash, field, value}...}}: of this call only
-- Answers
--   OK, head, out, mark, lease, status   head: the item's JSON members before "c"; lease 1: the caller writes the tail
--   SETTLED, record                the token was settled before: by whom
--   STALE, gen, graph, rev, status, no   decided on another generation or on state that has changed: decide again
--   BEHIND, no                     the token's creating commit is above this store's last: rebuild
--   UNKNOWN, no                    no such token, and no record of it
--   ENDED, status                  the run takes no more commits
--   MISSING                        no such run here
local meta, tok, dis, done, st, val = KEYS.meta, KEYS.tok, KEYS.dis, KEYS.done, KEYS.st, KEYS.val
local last, vars, tail, ready = KEYS.last, KEYS.vars, KEYS.tail, KEYS.ready
local control, c = cjson.decode(ARGV.control), cjson.decode(ARGV.body)
--include meta
local m = read_meta()
if not m then return {'MISSING'} end
local settle = c.settle and c.settle[1]
if settle and redis.call('HEXISTS', tok, settle) == 0 then
  local record = redis.call('HGET', done, settle)
  if record then return {'SETTLED', record} end
  if control.created > m.no then return {'BEHIND', m.no} end
  if m.ended then return {'ENDED', m.status} end
  return {'UNKNOWN', m.no}
end
if m.ended and not control.reopen then return {'ENDED', m.status} end
--include patch
if m.gen ~= c.gen or (control.reopen and m.no ~= control.reopen) or changed(control.expect) then return {'STALE', m.gen, m.graph, m.rev, m.status, m.no} end

-- every check is done: from here on only writes
--include tail
for _, ack in ipairs(control.acks or {}) do trim_tail(m, ack) end
local no, id, at = m.no + 1, c.id, c.at
local stamp = no .. '|' .. id .. '|' .. at .. '|'
local out, events = m.out, c.n
local fired, skipped, cancelled, lost, dropped, held, moved = {}, {}, {}, {}, {}, {}, {}
local waiting = (m.status == 'PAUSED' or not settle) and 'r' or 's' -- r: no redelivered signal will ever send it
local set = c.meta or {}
local hints = '|' .. (set.graph or c.graph) .. '|' .. (set.gen or c.gen) .. '|' .. (set.rev or c.rev) .. '|'
local function close(token, status, rest)
  out = out - redis.call('HDEL', tok, token)
  redis.call('HDEL', ready, token)
  redis.call('HSET', done, token, stamp .. status .. '|' .. (rest or ''))
end
local function cancel(token)
  close(token, 'CANCELLED')
  cancelled[#cancelled + 1] = token
  local own = string.match(token, '^%$(%a*)') -- a timer stands for its node
  if not own or own == 'arm' or own == 'retry' then events = events + 1 end
end
local function open(emit)
  local token, instance, kind = emit[1], emit[2], emit[3]
  redis.call('HSET', tok, token, stamp .. kind .. hints .. emit[4])
  redis.call('HSET', dis, token, stamp .. kind .. hints)
  redis.call('HSET', st, instance, token)
  redis.call('HSET', ready, token, waiting .. at)
  out = out + 1
end

--include cut
if settle then close(settle, c.settle[2], c.settle[3]) end
if m.last_end and m.last_end ~= settle and (c.emits or c.arr) then
  out = out - redis.call('HDEL', tok, m.last_end)
  redis.call('HDEL', ready, m.last_end)
end
--include losers
--include cancelling
stop(c, cancel, function(token) beat(token, close, open, lost) end)
patch_counts(c)
for i, emit in ipairs(c.emits or {}) do
  if beaten(emit) then events, held[#held + 1] = events - emit[5], i else open(emit) end
end
for _, skip in ipairs(c.skips or {}) do
  if redis.call('HEXISTS', tok, skip[1]) == 0 then redis.call('HSET', done, skip[1], stamp .. unrun(skip[1])) end
  redis.call('HSET', st, skip[2], skip[1])
end
--include joins
for i, arrival in ipairs(c.arr or {}) do
  local verdict = arrive(arrival, no)
  if verdict == 'fire' then
    fired[#fired + 1] = i
    open(arrival[6])
    events = events + arrival[6][5]
    if arrival[8] then cancel_losers(arrival[8], string.match(arrival[6][1], '#(%d+)'), close, open, lost, dropped) end
  elseif verdict == 'skip' then
    skipped[#skipped + 1] = i
    open(arrival[7])
  end
end
--include maps
for i, p in ipairs(c.prog or {}) do
  local began, over = progress(p, open)
  if began >= 0 then events = events + p[4][5] end
  moved[i] = {began, over}
end
--include values
--include pauses
keep_values(c, no)
note_pause(m, set.status, no, at)
for field, value in pairs(c.meta or {}) do redis.call('HSET', meta, field, value) end
for field, value in pairs(c.once or {}) do redis.call('HSETNX', meta, field, value) end

events = math.max(1, events)
-- what is noted of an ended run starts nothing
local over = out == 0 and not c.final and not (m.ended and not set.status)
local ended = over and '$end@#' .. no .. '.0' or ''
if ended ~= '' then
  m.last_end = ended
  open({ended, '$end@', 'i', ''})
end
local outcome = cjson.encode({f = fired, s = skipped, c = cancelled, l = lost, k = dropped, h = held, m = moved, e = ended,
  u = used(c)})
local seq = m.seq + 1
local head = string.format('"no":%d,"id":"%s","seq":%d,"n":%d,"prev":[%d,"%s"],"out":%s',
  no, id, seq, events, m.lseq, m.cid, outcome)
redis.call('HSET', tail, no, head, no .. 'c', ARGV.body)
redis.call('HSET', meta, 'no', no, 'cid', id, 'seq', seq + events - 1, 'lseq', seq, 'out', out, 'end', still_open(m))
return {'OK', head, out, m.mark, grant_lease(m, control.owner, control.now, no - 1), m.status}
