-- Gives the lock and the place in its queue back, and passes the lock on.
-- KEYS[1..3], ARGV[1..3] see handover.lua   ARGV[4] id   ARGV[5] '1' if it queued
-- Result: 1 released   0 it was not held under this id
-- Atomic because the lock may pass to another holder after the check, and
-- nobody may get between the release and the next grant.
if ARGV[5] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[4])
end
if redis.call('GET', KEYS[1]) ~= ARGV[4] then
  return 0
end
redis.call('DEL', KEYS[1])
handover()
return 1
