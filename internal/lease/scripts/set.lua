-- Stores a value that was written at its source, and voids the claim of any
-- load in flight: what that load read may be older.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] envelope   ARGV[2] time to live in ms
-- ARGV[3] '1' if the envelope carries a user version
-- Result: 1 stored   2 not stored: the value there has a newer user version
-- Atomic because a fill between the two steps would bring the older value back.
local function newer(a, b)
  for i = 17, 24 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return false
end
redis.call('DEL', KEYS[2])
if ARGV[3] == '1' then
  local head = redis.pcall('GETRANGE', KEYS[1], 0, 23)
  if type(head) == 'string' and #head == 24 and string.sub(head, 1, 2) == 'FC' and newer(head, ARGV[1]) then
    return 2
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
