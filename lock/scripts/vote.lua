-- One node's vote for a holder of a Redlock.
-- KEYS[1] vote   KEYS[2] life: what this node remembers of its own past
-- ARGV[1] id of the holder   ARGV[2] lock time in ms
-- ARGV[3] '1' if the holder has a majority already and only wants this vote back
-- ARGV[4] how long the life is remembered, in ms
-- Result: {1} given   {0, ms, id} somebody else has it   {2, ms} abstains
-- Atomic because the vote may be given only if nobody has it, by a node that
-- knows it has forgotten none.
local id, ms, back = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local cur = redis.call('GET', KEYS[1])
if cur == id then
  redis.call('PEXPIRE', KEYS[1], ms)
  return {1}
end
if cur then
  return {0, redis.call('PTTL', KEYS[1]), cur}
end
-- A node that was restarted or promoted may have forgotten votes. It abstains
-- for as long as the longest of them could have lasted. Its replication id is
-- another after each start and each promotion, and that of the node before it
-- came along with the life.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local life = redis.call('HMGET', KEYS[2], 'replid', 'until', 'ms')
local silent, longest = tonumber(life[2]) or 0, math.max(tonumber(life[3]) or 0, ms)
if life[1] ~= replid then
  if life[1] then
    silent = now + longest
  else -- it never voted, or has forgotten even that: then it has not run long
    local up = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) or 0
    silent = now + math.max(longest - up * 1000, 0)
  end
end
if life[1] ~= replid or tonumber(life[3]) ~= longest then
  redis.call('HSET', KEYS[2], 'replid', replid, 'until', string.format('%.0f', silent), 'ms', string.format('%.0f', longest))
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
if now < silent and not back then
  return {2, string.format('%.0f', silent - now)}
end
redis.call('SET', KEYS[1], id, 'PX', ms)
return {1}
