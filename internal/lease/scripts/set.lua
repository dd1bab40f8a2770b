-- Stores a value that was written at its source, and voids the claim of any
-- load in flight: what that load read may be older.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] envelope   ARGV[2] time to live in ms
-- ARGV[3] '1' if the envelope carries a user version
-- Result: 1 stored   2 not stored: the value there has a newer user version
-- Atomic because a fill between the two steps would bring the older value back.

-- newer reports whether the value at the key has a newer user version than the
-- envelope. What is no envelope of this format and this key (its hash is at 25
-- to 32) has no version.
local function newer(key, envelope)
  local head = redis.pcall('GETRANGE', key, 0, 31)
  if type(head) ~= 'string' or string.sub(head, 1, 3) ~= string.sub(envelope, 1, 3)
    or string.sub(head, 25, 32) ~= string.sub(envelope, 25, 32) then
    return false
  end
  for i = 17, 24 do
    local x, y = string.byte(head, i), string.byte(envelope, i)
    if x ~= y then
      return x > y
    end
  end
  return false
end

redis.call('DEL', KEYS[2])
if ARGV[3] == '1' and newer(KEYS[1], ARGV[1]) then
  return 2
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
