-- Compare and set of one record, and what is appended to the logs with it.
-- KEYS: records of the owner, due index, index of owners, then the log of each entry, then the lease under which it is done.
-- ARGV: record, expectation, expected version, stored form, due time or '', key, owner, channel, notice, holder or '', then
-- each entry.
-- Answers {1} when the record is as asked, {2} when somebody else holds the lease or nobody, {0, what stands there} otherwise.
local function newer(a, b)
  for i = 1, 8 do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x > y end
  end
  return false
end

local there = redis.call('HGET', KEYS[1], ARGV[1])
local new = ARGV[4]
-- The very same write again, after an answer was lost, is done already.
if there ~= new then
  if ARGV[10] ~= '' then
    local held = redis.call('GET', KEYS[#KEYS])
    if not held or held:sub(held:find(':', 1, true) + 1) ~= ARGV[10] then return {2} end
  end
  local fits
  if not there then
    fits = ARGV[2] ~= 'version'
  elseif #there < 8 or ARGV[2] == 'absent' then
    fits = false
  else
    fits = (ARGV[2] == 'any' or there:sub(1, 8) == ARGV[3]) and newer(new, there)
  end
  if not fits then return {0, there} end
  -- First of all: an account that may not append must not write either.
  for i = 1, #ARGV - 10 do redis.call('XADD', KEYS[3 + i], '*', 'e', ARGV[10 + i]) end
end
redis.call('HSET', KEYS[1], ARGV[1], new)
if ARGV[5] == '' then
  redis.call('ZREM', KEYS[2], ARGV[6])
else
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[6])
end
redis.call('SADD', KEYS[3], ARGV[7])
redis.call('PUBLISH', ARGV[8], ARGV[9])
return {1}
