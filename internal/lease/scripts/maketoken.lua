-- Returns the token of a tag or namespace, and makes one where there is none.
-- KEYS[1] token
-- ARGV[1] the token to make   ARGV[2] time to live in ms
-- Result: the token
-- One that is to live for less than half of that is prolonged, so that it
-- outlives what is stored with it now. What is no token, somebody else's
-- bytes, is replaced: nothing stored can depend on it.
-- Atomic because two processes must not make two.
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'string' and #token == 8 then
  if redis.call('PTTL', KEYS[1]) * 2 < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return token
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
