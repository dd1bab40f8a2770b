-- Prolongs a claim.
-- KEYS[1] lease   ARGV[1] token   ARGV[2] lease time in ms
-- Result: 1 prolonged   0 the claim is gone
-- Atomic because the claim may pass to another holder after the check.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
