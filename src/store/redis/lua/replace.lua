-- Compare and set of a one-time value. KEYS: value.
-- ARGV: expected value, stored form (16 bytes used once, then the value), milliseconds or '' to keep the time it has.
-- Answers 1 or 0.
local there = redis.call('GET', KEYS[1])
if not there then return 0 end
if there ~= ARGV[2] then
  if there:sub(17) ~= ARGV[1] then return 0 end
  if ARGV[3] == '' then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
end
return 1
