-- Makes everything stored with a token stale, and keeps it as a fallback.
-- KEYS[1] token   KEYS[2] guard of the tag, if it has one
-- ARGV[1] the token to make if there is none, or if it cannot count any
-- further   ARGV[2] time to live in ms   ARGV[3] the guard's new value
-- The last two bytes of a token count the expirations, the others stay: a
-- value with another count is stale, one with another token is gone.
-- Atomic because two expirations must not count as one.
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'string' and #token == 8 then
  local count = string.byte(token, 7) * 256 + string.byte(token, 8) + 1
  if count < 65536 then
    token = string.sub(token, 1, 6) .. string.char(math.floor(count / 256), count % 256)
  else
    token = ARGV[1]
  end
else
  token = ARGV[1]
end
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
end
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return 1
