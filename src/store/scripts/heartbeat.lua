#!lua
-- A node says that it is there; those that have not for a minute are forgotten.
-- KEYS  1 nodes
-- ARGV  1 node id  2 what it says of itself, JSON object  3 leaving, or empty
-- reply its renewals
local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
if ARGV[3] == 'leaving' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 0
end
local renewals = 1
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local readable, node = pcall(cjson.decode, known[i + 1])
  readable = readable and type(node) == 'table'
  if known[i] == ARGV[1] then
    renewals = (readable and tonumber(node.renewals) or 0) + 1
  -- What can't be read will never be, and must not keep the others from saying that they are there.
  elseif not readable or now_ms - (tonumber(node.seen_at_ms) or 0) > 60000 then
    redis.call('HDEL', KEYS[1], known[i])
  end
end
local node = cjson.decode(ARGV[2])
node.renewals = renewals
node.seen_at_ms = now_ms
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(node))
return renewals
