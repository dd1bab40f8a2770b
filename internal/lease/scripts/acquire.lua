-- Claims the right to fill a value.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] write id of the value the caller has seen ('' for none), 8 bytes
-- ARGV[2] token of the claim   ARGV[3] lease time in ms
-- Result: {0}             granted
--         {1}             the value is not the one the caller has seen
--         {2, ms}         another claim holds the lease for ms more
--         {3, ms, text}   a load failed; back off for ms
-- Atomic because between seeing no value and taking the lease another process
-- could fill, and the caller would load a second time.
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' and string.sub(value, 9, 16) ~= ARGV[1] then
  return {1}
end
local holder = redis.pcall('GET', KEYS[2])
if type(holder) == 'string' and holder ~= ARGV[2] then
  local left = redis.call('PTTL', KEYS[2])
  if string.sub(holder, 1, 1) == '!' then
    return {3, left, string.sub(holder, 2)}
  end
  return {2, left}
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {0}
