-- Stores a loaded value if the claim it was loaded under still stands.
-- KEYS[1] value   KEYS[2] lease
-- ARGV[1] token of the claim   ARGV[2] envelope   ARGV[3] time to live in ms
-- ARGV[4] '1' if the envelope carries a user version
-- Result: 1 stored (or stored before, by this very envelope: a retry)
--         0 refused: the claim is gone
--         2 refused: the value there has a newer user version
-- Atomic because the claim can be voided between the check and the write.
-- newer is that of newer.lua, which goes in front.
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then
  local head = redis.pcall('GETRANGE', KEYS[1], 8, 15)
  if head == string.sub(ARGV[2], 9, 16) then
    return 1
  end
  return 0
end
redis.call('DEL', KEYS[2])
if ARGV[4] == '1' and newer(KEYS[1], ARGV[2]) then
  return 2
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
