-- item_of(emit, index): the emit of another item, from that of item 0.
local function item_of(emit, index)
  local at = '[' .. index .. ']'
  return {(string.gsub(emit[1], '%[0%]', at, 1)), (string.gsub(emit[2], '%[0%]', at, 1)), emit[3], emit[4], emit[5]}
end

-- progress(p, open): count one settled item of a map: {field, 1 done or 0 failed, map token, emit of item 0, index}. The
-- next item begins while the map goes on. Answers that item's index or -1, and 1 where the map has nothing to wait for.
local function progress(p, open)
  local old = redis.call('HGET', KEYS.box, p[1])
  if not old then return -1, 0 end
  local next_, done, failed, items, most, first, pages = string.match(old,
    '^(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%-?%d+)|(.*)$')
  next_, done, failed, items = tonumber(next_), tonumber(done), tonumber(failed), tonumber(items)
  if p[2] == 1 then done = done + 1 else failed = failed + 1 end
  if p[2] == 0 and first == '-1' then first = p[5] end
  local over = failed > tonumber(most) or done + failed >= items
  local began = -1
  if not over and next_ < items and redis.call('HEXISTS', KEYS.tok, p[3]) == 1 then
    began, next_ = next_, next_ + 1
    open(item_of(p[4], began))
  end
  redis.call('HSET', KEYS.box, p[1], table.concat({next_, done, failed, items, most, first, pages}, '|'))
  return began, over and 1 or 0
end
