-- Publishes one message on a partition, linked to the message before it.
-- KEYS[1] state of the partition: id of its last message (8 bytes), id of the
--         one before (8 bytes), sequence number of the last (decimal)
-- ARGV[1] SPUBLISH or PUBLISH   ARGV[2] channel of the partition
-- ARGV[3] id of this message, 8 bytes
-- ARGV[4] first bytes of the message: magic and version
-- ARGV[5] rest of the message: origin and events
-- Result: {sequence number, receivers}
-- Atomic because the chain must have the order in which the messages leave the
-- server. The same message sent again right away, because its reply was lost,
-- keeps its place in the chain; sent again after others, it gets a new one.
-- A state that is not of this form, or of another type, is one that is not
-- there: the chain begins anew, which every subscriber notices.
local id = ARGV[3]
local state = redis.pcall('GET', KEYS[1])
if type(state) == 'table' and state.err and not string.find(state.err, 'WRONGTYPE', 1, true) then
  return state
end
local last, prev, seq = string.rep('\0', 8), '', 0
if type(state) == 'string' and string.find(state, '^%d+$', 17) then
  last, prev, seq = string.sub(state, 1, 8), string.sub(state, 9, 16), tonumber(string.sub(state, 17))
end
local fresh = last ~= id
if fresh then
  prev, seq = last, seq + 1
end
local number = string.format('%.0f', seq)
local receivers = redis.call(ARGV[1], ARGV[2], ARGV[4] .. prev .. id .. number .. '\n' .. ARGV[5])
if fresh then
  redis.call('SET', KEYS[1], id .. prev .. number)
end
return {seq, receivers}
