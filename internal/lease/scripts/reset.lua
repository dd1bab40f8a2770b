-- Makes up for a write that may have been lost: removes the value unless it is
-- the very one that was written.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] write id of the value, 8 bytes
-- Result: 1 removed   0 it is there
-- Atomic because the value may be stored between the look and the removal.
if redis.pcall('GETRANGE', KEYS[1], 8, 15) == ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
