#!lua flags=allow-oom
-- A node reports what it has applied, and gets what comes after it: in one script, so that both belong to one server.
-- KEYS  1 meta  2 feed  3 leases  4 keyring
-- ARGV  1 dataset  2 identity that the node follows, or empty: none yet  3 applied epoch  4 node id  5 entries at the most
-- reply {dataset, identity, epoch or '', version of the key set, epoch, type, key, body, epoch, type, key, body …}
local dataset, here, epoch = where(KEYS[1])
local reply = { dataset, here, epoch, redis.call('HGET', KEYS[4], 'version') or '0' }
if dataset ~= ARGV[1] or epoch == '' or ARGV[2] ~= here then
  return reply
end
local known = redis.call('HGET', KEYS[3], ARGV[4])
if known then
  local start, reported, rest = string.match(known, '^(%d+ %d+ )(%d+%-%d+)( .*)$')
  if before(reported, ARGV[3]) then
    redis.call('HSET', KEYS[3], ARGV[4], start .. ARGV[3] .. rest)
  end
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[3], '+', 'COUNT', ARGV[5])) do
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
  end
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = fields.t or ''
  reply[#reply + 1] = fields.k or ''
  reply[#reply + 1] = fields.b or ''
end
return reply
