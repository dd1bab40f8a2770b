-- Prolongs the lock.
-- KEYS[1] lock   ARGV[1] id   ARGV[2] lock time in ms
-- Result: 1 prolonged   0 it is not held under this id
-- Atomic because the lock may pass to another holder after the check.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
