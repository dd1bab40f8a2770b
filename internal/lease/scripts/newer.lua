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
