#!lua
-- The sealed document of keys is replaced, if it is still the one that was read (K5).
-- KEYS  1 meta  2 feed  3 keyring  4 leases  5 acts  6 act heads  7 acts of the author (or 5 again)  8 state of the author  9 roles
--       10 living tokens of the key that is to be retired  11 state of the admin who must remain  12 admins
--       13 acts that no block links  14 session of the author (or 1 again)  15 issuers  16… states of the admins whose tokens die with the key, in the order of the plan
-- ARGV  1 plan  2 the sealed document  3 event, or empty: the first document of all  4 length of the acts  5 length of one account's acts
--       6 again, where the answer to the first try was lost
-- plan {dataset, issuer, raises, read = version that was read, next = the version of the new one, author = {record, roles = {name: epoch}, key} as he was let in, or false,
--       unneeded = a time after which no token of the key may expire, or false, remains = epoch of the remaining admin, or false,
--       revoked = id of the key that is to be revoked, or false, shut_out = [[admin, epoch]], node, claim, sequence, hash, takes_away}
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong, which}
local plan = cjson.decode(ARGV[1])
local dataset, here, latest = where(KEYS[1], plan.raises)
if dataset ~= plan.dataset then
  return { 'dataset' }
end
-- F6: an epoch of this server would be one of the term before.
if latest == '' or not is_met(plan, here, KEYS[15]) then
  return { 'unmet' }
end
local done = ARGV[6] and ARGV[3] ~= '' and done_before(KEYS[7], ARGV[3])
if done then
  return committed(done, here, KEYS[4])
end
if ARGV[3] ~= '' and not is_claimed(plan, KEYS[6]) then
  return { 'claim' }
end
if ARGV[3] ~= '' and is_full(plan, KEYS[5], KEYS[6], ARGV[4]) then
  return { 'full' }
end
if plan.author and not is_unchanged(plan.author, KEYS[8], KEYS[9], KEYS[3], KEYS[14]) then
  return { 'author' }
end
if (redis.call('HGET', KEYS[3], 'version') or '0') ~= plan.read then
  return { 'conflict' }
end
-- K2. Nobody signs with it any more, so that they only become fewer.
if plan.unneeded then
  local needed = redis.call('ZCOUNT', KEYS[10], '(' .. plan.unneeded, '+inf')
  if needed > 0 then
    return { 'in_use', tostring(needed) }
  end
end
if plan.remains then
  local state = redis.call('GET', KEYS[11]) or ''
  if string.match(state, '^%S+') ~= plan.remains then
    return { 'conflict' }
  end
end
for place, admin in ipairs(plan.shut_out) do
  if string.match(redis.call('GET', KEYS[15 + place]) or '', '^%S+') ~= admin[2] then
    return { 'conflict' }
  end
end
local version = plan.next
local epoch = redis.call('HGET', KEYS[1], 'term') .. '-' .. redis.call('HINCRBY', KEYS[1], 'counter', 1)
redis.call('HSET', KEYS[3], 'version', version, 'document', ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, epoch, 't', 'keys', 'k', 'keyring', 'b', version)
if plan.revoked then
  redis.call('HSET', KEYS[3], 'revoked:' .. plan.revoked, version)
  -- They can do nothing without a new token, and are not who remains.
  for _, admin in ipairs(plan.shut_out) do
    redis.call('ZADD', KEYS[12], 'XX', 0, admin[1])
  end
end
if ARGV[3] ~= '' then
  record_act(plan, epoch, ARGV[3], KEYS[5], ARGV[4], KEYS[6], KEYS[13], { KEYS[7] }, ARGV[5])
end
return committed(epoch, here, KEYS[4])
