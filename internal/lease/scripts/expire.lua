-- Marks a value stale in place, without moving it, and voids the claim of any
-- load in flight.
-- KEYS[1] value   KEYS[2] lease
-- Result: 1 marked   0 there was no value of ours
-- Atomic because a fill between the two steps would store an older value that
-- is not marked.
redis.call('DEL', KEYS[2])
local head = redis.pcall('GETRANGE', KEYS[1], 0, 1)
if type(head) == 'table' and head.err and not string.find(head.err, 'WRONGTYPE', 1, true) then
  return head
end
if head ~= 'FC' or redis.call('STRLEN', KEYS[1]) < 64 then
  return 0
end
redis.call('SETRANGE', KEYS[1], 5, string.char(1))
return 1
