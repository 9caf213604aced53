-- Compare and delete of one record, and what is appended to the logs with it.
-- KEYS: records of the owner, due index, index of owners, then the log of each entry.
-- ARGV: record, expectation, expected version, key, owner, channel, notice, then each entry.
-- Answers {1} when the record is gone, {0, what stands there} otherwise.
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there then
  if ARGV[2] ~= 'any' and (ARGV[2] == 'absent' or there:sub(1, 8) ~= ARGV[3]) then return {0, there} end
  -- First of all: an account that may not append must not delete either.
  for i = 4, #KEYS do redis.call('XADD', KEYS[i], '*', 'e', ARGV[4 + i]) end
  redis.call('HDEL', KEYS[1], ARGV[1])
  if redis.call('HLEN', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], ARGV[5]) end
end
redis.call('ZREM', KEYS[2], ARGV[4])
if there then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
return {1}
