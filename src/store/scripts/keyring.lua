#!lua
-- The sealed document of keys is replaced, if it is still the one that was read (K5).
-- KEYS  1 meta  2 feed  3 keyring  4 leases
-- ARGV  1 dataset  2 version that was read  3 the sealed document  4 again, where the answer to the first try was lost
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong}
local dataset, here, latest = where(KEYS[1])
if dataset ~= ARGV[1] then
  return { 'dataset' }
end
-- F6: an epoch of this server would be one of the term before.
if latest == '' then
  return { 'unmet' }
end
-- No two sealed documents are alike: each has a nonce of its own.
if ARGV[4] and redis.call('HGET', KEYS[3], 'document') == ARGV[3] then
  return committed(latest, here, KEYS[4])
end
if (redis.call('HGET', KEYS[3], 'version') or '0') ~= ARGV[2] then
  return { 'conflict' }
end
local version = tonumber(ARGV[2]) + 1
local epoch = redis.call('HGET', KEYS[1], 'term') .. '-' .. redis.call('HINCRBY', KEYS[1], 'counter', 1)
redis.call('HSET', KEYS[3], 'version', version, 'document', ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, epoch, 't', 'keys', 'k', 'keyring', 'b', version)
return committed(epoch, here, KEYS[4])
