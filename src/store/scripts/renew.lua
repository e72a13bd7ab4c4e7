#!lua flags=allow-oom
-- A node renews its lease: from when it noted its clock, once it has applied the epoch that it is told here (protocols, 2).
-- A store that is full takes it: it replaces what the node said before.
-- KEYS  1 meta  2 leases  3 nodes
-- ARGV  1 dataset  2 identity that the node follows, or empty: it follows none and looks everything up  3 node id
--       4 length of the lease in milliseconds  5 applied epoch  6 tokens a second  7 what it says of itself, JSON object
--       8 its count of renewals, which never restarts while it lives
-- reply {dataset, identity, epoch or '', 'ok' | 'not recorded' | 'ceiling', the ceiling in milliseconds}
local dataset, here, epoch = where(KEYS[1])
local ceiling = tonumber(redis.call('HGET', KEYS[1], 'lease_ceiling_ms') or '0')
if dataset ~= ARGV[1] or epoch == '' or (ARGV[2] ~= '' and ARGV[2] ~= here) then
  return { dataset, here, epoch, 'not recorded', tostring(ceiling) }
end
-- No lease is longer than what an issuer waits for that can't know of it (R4).
if tonumber(ARGV[4]) > ceiling then
  return { dataset, here, epoch, 'ceiling', tostring(ceiling) }
end
local count, applied = tonumber(ARGV[8]), ARGV[5]
local known = redis.call('HGET', KEYS[2], ARGV[3])
if known then
  -- What can't be read is written anew.
  local had, reported = string.match(known, '^(%d+) %d+ (%d+%-%d+) ')
  count = math.max(count, tonumber(had or '0'))
  -- What was reported only rises: renewals and reports travel on different connections.
  if reported and before(applied, reported) then
    applied = reported
  end
end
local now = redis.call('TIME')
local now_ms = string.format('%d', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
redis.call('HSET', KEYS[2], ARGV[3],
  string.format('%d %d %s %s %d', count, tonumber(ARGV[4]), applied, now_ms, tonumber(ARGV[6])))
redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[7])
return { dataset, here, epoch, 'ok', tostring(ceiling) }
