#!lua flags=allow-oom
-- The last change of an account, as if it had just been made: for those who find done what they wanted, and answer for it. They note it
-- before, and so it is only told by issuers for whom a copy of this server waits, as a change is only made by them.
-- KEYS  1 meta  2 state  3 profile  4 leases  5 issuers
-- ARGV  1 plan  2 state  3 profile, or empty where there is none: as they were read
-- plan {dataset, issuer, raises}
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong}
local plan = cjson.decode(ARGV[1])
local dataset, here, latest = where(KEYS[1])
if dataset ~= plan.dataset then
  return { 'dataset' }
end
if latest == '' or not is_met(plan, here, KEYS[5]) then
  return { 'unmet' }
end
if redis.call('GET', KEYS[2]) ~= ARGV[2] or (redis.call('GET', KEYS[3]) or '') ~= ARGV[3] then
  return { 'conflict' }
end
return committed(string.sub(ARGV[2], 1, string.find(ARGV[2], ' ', 1, true) - 1), here, KEYS[4])
