-- Extends a lease for its holder. KEYS: lease. ARGV: holder, milliseconds. Answers 1 or 0.
local held = redis.call('GET', KEYS[1])
if not held or held:sub(held:find(':', 1, true) + 1) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
