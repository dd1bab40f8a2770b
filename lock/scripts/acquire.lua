-- Takes the lock, or a place in its queue.
-- KEYS[1..3], ARGV[1..3] see handover.lua
-- ARGV[4] id of this grant   ARGV[5] lock time in ms   ARGV[6] '1' to queue
-- ARGV[7] queue time in ms
-- Result: {1, token} granted
--         {0, ms until it is worth asking again, time, 0 if it queues and we
--         would not be heard by it}
-- Atomic because the lock, the queue and the counter change together. The same
-- request sent twice, because its reply was lost, is granted once, and a lock
-- that was handed over is confirmed.
local id = ARGV[4]
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then -- mostly
  redis.call('SET', KEYS[1], id, 'PX', ARGV[5])
  return {1, token(now())}
end
local cur = redis.call('GET', KEYS[1])
if not cur then
  local head = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if head == id or not handover() then
    redis.call('ZREM', KEYS[2], id)
    redis.call('SET', KEYS[1], id, 'PX', ARGV[5])
    return {1, token(now())}
  end
  cur = redis.call('GET', KEYS[1]) -- ours, if those ahead of us did not hear
end
if cur == id then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {1, redis.call('GET', KEYS[3]) or '0'}
end
local time, hears = now(), 1
if ARGV[6] == '1' then
  hears = listens(id) and 1 or 0
  redis.call('ZADD', KEYS[2], 'NX', time, id)
  if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[7]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[7])
  end
end
return {0, redis.call('PTTL', KEYS[1]), string.format('%.0f', time), hears}
