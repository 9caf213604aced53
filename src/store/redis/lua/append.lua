-- Appends entries that go with no change of a record, each once.
-- KEYS: for each entry its log, and the index of what was appended to that by itself. ARGV: each entry, its id first.
for i = 1, #ARGV do
  local log, index, id = KEYS[2 * i - 1], KEYS[2 * i], ARGV[i]:sub(1, 16)
  if not redis.call('ZSCORE', index, id) then
    local position = redis.call('XADD', log, '*', 'e', ARGV[i])
    redis.call('ZADD', index, position:match('^%d+'), id)
  end
end
return 1
