-- Gives a claim back without a value.
-- KEYS[1] lease   ARGV[1] token
-- ARGV[2] '' or the text of the error that everybody should back off from
-- ARGV[3] how long, in ms
-- Result: 1 released   0 the claim was gone already
-- Atomic because the claim may pass to another holder after the check.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], '!' .. ARGV[2], 'PX', ARGV[3])
end
return 1
