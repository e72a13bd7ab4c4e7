#!lua flags=allow-oom
-- A process claims the acts of a node: none that was numbered under an earlier claim is committed any more (A3).
-- KEYS  1 act heads  2 acts that no block links
-- ARGV  1 node  2 claim
-- reply {highest number of a committed act, its number, id of its entry and hash, of each that no block links …}
redis.call('HSET', KEYS[1], ARGV[1] .. '#claim', ARGV[2])
local reply = { redis.call('HGET', KEYS[1], ARGV[1]) or '0' }
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local node, number = string.match(all[i], '^(%S+) (%d+)$')
  if node == ARGV[1] then
    reply[#reply + 1] = number
    reply[#reply + 1] = all[i + 1]
  end
end
return reply
