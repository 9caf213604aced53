-- Claims a one-time value. KEYS: value. ARGV: stored form (a number used once, then the value), milliseconds or ''.
-- Answers {1} or {0, what stands there}; the number used once tells a repeated call from another's.
local there = redis.call('GET', KEYS[1])
if there then
  if there == ARGV[1] then return {1} end
  return {0, there}
end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {1}
