#!lua flags=allow-oom
-- The table of nodes, and where it was read. It writes nothing and is refused by replicas all the same (F3).
-- KEYS  1 meta  2 leases
-- reply {dataset, identity, epoch or '', node id, lease, node id, lease …}
local dataset, here, epoch = where(KEYS[1])
local reply = { dataset, here, epoch }
for _, text in ipairs(redis.call('HGETALL', KEYS[2])) do
  reply[#reply + 1] = text
end
return reply
