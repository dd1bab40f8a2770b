-- Makes up for a write that may have been lost, or comes late: removes the value
-- unless it is the very one that was written, and voids the claim on it.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] write id of the value, 8 bytes, or ''
-- ARGV[2] '1' to leave the user version of the value behind, if it has one: what
-- is older must not come back now. It is marked absent and stale in place, which
-- no reader serves.
-- Result: 1 removed   0 it is there
-- Atomic because the value may be stored between the look and the removal.
local head = redis.pcall('GETRANGE', KEYS[1], 0, 23)
local ours = type(head) == 'string' and #head == 24 and string.sub(head, 1, 2) == 'FC'
if ours and string.sub(head, 9, 16) == ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2])
if ours and ARGV[2] == '1' and string.sub(head, 17, 24) ~= string.rep('\0', 8)
  and redis.call('STRLEN', KEYS[1]) >= 64 then
  local flags = string.byte(head, 4)
  if flags % 2 == 0 then
    redis.call('SETRANGE', KEYS[1], 3, string.char(flags + 1))
  end
  redis.call('SETRANGE', KEYS[1], 5, string.char(1))
  return 1
end
redis.call('DEL', KEYS[1])
return 1
