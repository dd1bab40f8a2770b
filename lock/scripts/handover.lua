-- Common beginning of the scripts that may grant the lock.
-- KEYS[1] lock   KEYS[2] queue   KEYS[3] counter of tokens
-- ARGV[1] channel prefix   ARGV[2] grace in ms   ARGV[3] counter time in ms
-- now() is the time of this server in microseconds.
local function now()
  local clock = redis.call('TIME')
  return clock[1] * 1000000 + clock[2]
end
-- token(time) counts a grant and returns its token: one more than the last, or
-- the time if that is more. So it grows by the counter, and by the clock if the
-- counter, or the end of it, is lost.
local function token(time)
  local last = tonumber(redis.call('GET', KEYS[3]) or '0') or 0
  local text = string.format('%.0f', math.max(last + 1, time))
  redis.call('SET', KEYS[3], text, 'PX', ARGV[3])
  return text
end
-- listens(id) is whether a waiter is subscribed here. A subscriber that a failover
-- has left behind at the replica hears us too, but is not counted, neither here
-- nor by SPUBLISH: so a grant must not be what one finds out with.
local function listens(id)
  return redis.call('PUBSUB', 'SHARDNUMSUB', ARGV[1] .. id)[2] > 0
end
-- reached(text) tells the first waiter that hears us, and returns its id. Who
-- does not listen is dropped: it queues again when it is back.
local function reached(text)
  while true do
    local id = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    if not id then
      return nil
    end
    if listens(id) then
      redis.call('SPUBLISH', ARGV[1] .. id, text)
      return id
    end
    redis.call('ZREM', KEYS[2], id)
  end
end
-- handover() grants the free lock to the first waiter that hears us, for the
-- grace only: it has that long to confirm. The one behind it is told to look
-- again when the grace is over. Result: whether the lock is granted now.
local function handover()
  if redis.call('EXISTS', KEYS[2]) == 0 then
    return false
  end
  local time = now()
  local id = reached('go:' .. token(time) .. ':' .. string.format('%.0f', time))
  if not id then
    return false
  end
  redis.call('ZREM', KEYS[2], id)
  redis.call('SET', KEYS[1], id, 'PX', ARGV[2])
  reached('next')
  return true
end
