-- The unwritten tail: journal items that Redis holds until they are known to be in the journal (HAZARDS 1, 3).

-- trim_tail(m, {no, id}): items up to `no` are journaled. Ignored unless commit `no` here has that id.
local function trim_tail(m, ack)
  local no, id = ack[1], ack[2]
  if no <= m.mark or no > m.no then return end
  local head = redis.call('HGET', KEYS.tail, tostring(no))
  if not head or string.match(head, '"id":"([^"]*)"') ~= id then return end
  for n = m.mark + 1, no do redis.call('HDEL', KEYS.tail, tostring(n), n .. 'c') end
  m.mark = no
  redis.call('HSET', KEYS.meta, 'mark', no, 'lease', '')
  m.lease = ''
end

-- grant_lease(...): 1 if `owner` now writes the tail: nobody else holds unwritten items, or the lease has run out.
local function grant_lease(m, owner, now, before)
  if m.mark < before and m.lease ~= '' and m.lease ~= owner and m.lease_until > now then return 0 end
  redis.call('HSET', KEYS.meta, 'lease', owner, 'lease_until', now + 2000)
  return 1
end
