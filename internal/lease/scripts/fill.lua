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
local envelope, ttl = ARGV[2], tonumber(ARGV[3])
-- That the value does not exist at its source has no version of its own. It takes
-- that of what is there, and lives as long, so that nothing older comes back: its
-- version is at 17 to 24, its hard time to live at 41 to 48.
if ARGV[4] ~= '1' and string.byte(envelope, 4) % 2 == 1 then
  local none = string.sub(envelope, 1, 16) .. string.rep('\0', 8) .. string.sub(envelope, 25)
  if newer(KEYS[1], none) then
    local left = redis.call('PTTL', KEYS[1])
    if left > ttl then
      ttl = left
    end
    local hard, n = '', ttl
    for _ = 1, 8 do
      hard = string.char(n % 256) .. hard
      n = math.floor(n / 256)
    end
    envelope = string.sub(envelope, 1, 16) .. redis.call('GETRANGE', KEYS[1], 16, 23)
      .. string.sub(envelope, 25, 40) .. hard .. string.sub(envelope, 49)
  end
end
redis.call('SET', KEYS[1], envelope, 'PX', ttl)
return 1
