-- Counts something once. KEYS: mark of what was counted, bucket of the counter.
-- ARGV: by how much, milliseconds to keep the bucket, milliseconds to keep the mark.
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[3]) then
  redis.call('INCRBY', KEYS[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 1
