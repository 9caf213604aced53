-- Ends a lease for its holder. KEYS: lease. ARGV: holder. Answers 1 or 0.
local held = redis.call('GET', KEYS[1])
if not held or held:sub(held:find(':', 1, true) + 1) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
