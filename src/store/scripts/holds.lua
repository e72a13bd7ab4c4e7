#!lua flags=allow-oom
-- The last change of an account, as if it had just been made: for those who find done what they wanted, and answer for it.
-- KEYS  1 meta  2 state  3 leases
-- ARGV  1 dataset
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong}
local dataset, here, latest = where(KEYS[1])
if dataset ~= ARGV[1] then
  return { 'dataset' }
end
if latest == '' then
  return { 'unmet' }
end
local state = redis.call('GET', KEYS[2])
if not state then
  return { 'not_found' }
end
return committed(string.sub(state, 1, string.find(state, ' ', 1, true) - 1), here, KEYS[3])
