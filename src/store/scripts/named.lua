#!lua
-- One change of one role or team.
-- KEYS  1 meta  2 feed  3 acts  4 act heads  5 definitions  6 references  7 acts of the author  8 state of the author  9 roles  10 leases  11 keyring
--       12 acts that no block links  13 session of the author (or 1 again)  14 issuers
-- ARGV  1 plan  2 definition, or empty to remove it  3 event  4 length of the acts  5 length of one account's acts
--       6 again, where it is not known whether the first try was carried out
-- plan {dataset, issuer, raises, author = {record, roles = {name: epoch}, key} as he was let in, kind = 'role' | 'team', name, expect = epoch or '' for a new one, node, claim, sequence, hash, takes_away}
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong, which}
local plan = cjson.decode(ARGV[1])
local dataset, here, latest = where(KEYS[1], plan.raises)
if dataset ~= plan.dataset then
  return { 'dataset' }
end
-- F6: an epoch of this server would be one of the term before.
if latest == '' or not is_met(plan, here, KEYS[14]) then
  return { 'unmet' }
end
local done = ARGV[6] and done_before(KEYS[7], ARGV[3])
if done then
  return committed(done, here, KEYS[10])
end
if not is_claimed(plan, KEYS[4]) then
  return { 'claim' }
end
if is_full(plan, KEYS[3], KEYS[4], ARGV[4]) then
  return { 'full' }
end
if plan.author and not is_unchanged(plan.author, KEYS[8], KEYS[9], KEYS[11], KEYS[13]) then
  return { 'author' }
end
local definition = redis.call('HGET', KEYS[5], plan.name)
local version = definition and string.sub(definition, 1, string.find(definition, ' ', 1, true) - 1) or ''
if version ~= plan.expect then
  return { 'conflict' }
end
if ARGV[2] == '' and tonumber(redis.call('HGET', KEYS[6], plan.name) or '0') > 0 then
  return { 'in_use', redis.call('HGET', KEYS[6], plan.name) }
end

local epoch = redis.call('HGET', KEYS[1], 'term') .. '-' .. redis.call('HINCRBY', KEYS[1], 'counter', 1)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[5], plan.name)
  redis.call('HDEL', KEYS[6], plan.name)
else
  redis.call('HSET', KEYS[5], plan.name, epoch .. ' ' .. ARGV[2])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, epoch, 't', plan.kind, 'k', plan.name, 'b', ARGV[2])
record_act(plan, epoch, ARGV[3], KEYS[3], ARGV[4], KEYS[4], KEYS[12], { KEYS[7] }, ARGV[5])
return committed(epoch, here, KEYS[10])
