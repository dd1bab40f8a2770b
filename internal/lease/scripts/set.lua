-- Stores a value that was written at its source, and voids the claim of any
-- load in flight: what that load read may be older.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] envelope   ARGV[2] time to live in ms
-- ARGV[3] '1' if the envelope carries a user version
-- Result: 1 stored   2 not stored: the value there has a newer user version
-- Atomic because a fill between the two steps would bring the older value back.
-- newer is that of newer.lua, which goes in front.
redis.call('DEL', KEYS[2])
if ARGV[3] == '1' and newer(KEYS[1], ARGV[1]) then
  return 2
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
