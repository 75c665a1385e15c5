#!lua
-- acknowledge: the journal holds the run's commits up to one; the messages of some tokens were sent.
-- KEYS  meta tail ready
-- ARGV  ack    {no, commit id}, JSON
--       sent   token texts, JSON
-- Answers
--   OK        noted as far as it still applies
--   MISSING   no such run here
--include meta
local m = read_meta()
if not m then return {'MISSING'} end
--include tail
trim_tail(m, cjson.decode(ARGV.ack))
for _, token in ipairs(cjson.decode(ARGV.sent)) do redis.call('HDEL', KEYS.ready, token) end
return {'OK'}
