#!lua
-- An act that changes nothing a verification consults: its event alone.
-- KEYS  1 meta  2 acts  3 act heads  4 leases  5 acts that no block links
-- ARGV  1 plan  2 event  3 length of the acts  4 again, where it is not known whether the first try was carried out
-- plan {dataset, restored = what meta says of the restore that it tells of, or '', node, claim, sequence, hash, takes_away}
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong}
local plan = cjson.decode(ARGV[1])
local dataset, here, latest = where(KEYS[1])
if dataset ~= plan.dataset then
  return { 'dataset' }
end
if latest == '' then
  return { 'unmet' }
end
local done = ARGV[4] and done_before(KEYS[2], ARGV[2])
if done then
  return committed(done, here, KEYS[4])
end
if not is_claimed(plan, KEYS[3]) then
  return { 'claim' }
end
if is_full(plan, KEYS[2], KEYS[3], ARGV[3]) then
  return { 'full' }
end
if plan.restored ~= '' then
  -- Of several issuers that start at once one tells it.
  if redis.call('HGET', KEYS[1], 'restored') ~= plan.restored then
    return { 'conflict' }
  end
  redis.call('HDEL', KEYS[1], 'restored')
end
record_act(plan, latest, ARGV[2], KEYS[2], ARGV[3], KEYS[3], KEYS[5], {}, 0)
return committed(latest, here, KEYS[4])
