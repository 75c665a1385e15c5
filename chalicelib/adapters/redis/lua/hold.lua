#!lua
-- hold: nobody will send these tokens' messages by a redelivered signal any more; whoever resumes the run does.
-- KEYS  ready
-- ARGV  tokens   token texts, JSON
--       at       milliseconds
-- Answers
--   OK   those that are still unsent are marked
for _, token in ipairs(cjson.decode(ARGV.tokens)) do
  if redis.call('HEXISTS', KEYS.ready, token) == 1 then redis.call('HSET', KEYS.ready, token, 'r' .. ARGV.at) end
end
return {'OK'}
