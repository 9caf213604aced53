-- Takes or extends a lease, which is kept as "fence:holder".
-- KEYS: lease, last fence of the shard. ARGV: holder, milliseconds.
-- Answers {1, fence} or {0, milliseconds the other has left}.
local held = redis.call('GET', KEYS[1])
if held then
  local colon = held:find(':', 1, true)
  if held:sub(colon + 1) ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, held:sub(1, colon - 1)}
end
-- No smaller than the clock, so that it keeps growing when a failover lost the last number.
local time = redis.call('TIME')
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, time[1] * 1000000 + time[2])
local digits = string.format('%.0f', fence)
redis.call('SET', KEYS[2], digits)
redis.call('SET', KEYS[1], digits .. ':' .. ARGV[1], 'PX', ARGV[2])
return {1, digits}
