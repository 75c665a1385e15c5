-- read_meta(): the run's counters and state as a table, or nil where there is no run.
local function read_meta()
  local v = redis.call('HMGET', KEYS.meta, 'gen', 'status', 'no', 'cid', 'seq', 'lseq', 'out', 'mark', 'lease', 'lease_until',
    'graph', 'rev', 'end', 'paused', 'cut')
  if not v[1] then return nil end
  local m = {gen = v[1], status = v[2], no = tonumber(v[3]), cid = v[4], seq = tonumber(v[5]), lseq = tonumber(v[6]),
    out = tonumber(v[7]), mark = tonumber(v[8]), lease = v[9] or '', lease_until = tonumber(v[10] or '0'),
    graph = v[11], rev = v[12], last_end = v[13], paused = v[14] and tonumber(string.match(v[14], '^%d+')) or nil,
    cut = tonumber(v[15] or '')}
  if m.last_end == '' then m.last_end = nil end
  m.ended = m.status == 'COMPLETED' or m.status == 'FAILED' or m.status == 'CANCELLED' or m.status == 'TIMED_OUT'
  return m
end
