-- Removes the oldest entries of a log.
-- KEYS: log, index of what was appended to it by itself. ARGV: milliseconds to keep or '', entries to keep or '', first position
-- to keep or ''.
-- Answers how many went.
local gone = 0
if ARGV[1] ~= '' then
  local time = redis.call('TIME')
  local from = math.max(time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1], 0)
  gone = redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', from))
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', from))
end
if ARGV[2] ~= '' then gone = gone + redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2]) end
if ARGV[3] ~= '' then gone = gone + redis.call('XTRIM', KEYS[1], 'MINID', ARGV[3]) end
if gone > 0 then
  -- An id is known for as long as its entry is there.
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local until_then = oldest and '(' .. oldest[1]:match('^%d+') or '+inf'
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', until_then)
end
return gone
