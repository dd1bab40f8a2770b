-- Deletes consumers of a group that have nothing pending.
-- KEYS[1] stream
-- ARGV[1] group   ARGV[2] the consumer that leaves   ARGV[3] the idle time in
-- milliseconds from which others are deleted, too
-- Atomic because deleting a consumer deletes what it has pending: one that got
-- an entry between the look and the deletion would lose it.
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local name, pending, idle = c[2], c[4], c[6]
  if pending == 0 and (name == ARGV[2] or idle >= tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
  end
end
