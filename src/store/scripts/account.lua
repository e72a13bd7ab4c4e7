#!lua
-- One change of one account: all of it or nothing. Everything is checked before anything is written.
-- KEYS  1 meta  2 feed  3 acts  4 act heads  5 names  6 list  7 roles  8 teams  9 role references  10 team references
--       11 admins  12 overlaps  13 state  14 profile  15 acts of the account  16 acts of the actor (or 15 again)
--       17 keyring  18 state of the author (or 13 again)  19 leases  20 acts that no block links
--       21 usernames of people  22 setup link  23 catalogue
--       24 session of the author (or 1 again)  25 issuers  26… live tokens of a key, and who has a role or is in a team, as named in the plan by their place
-- ARGV  1 plan  2 state  3 profile, or empty to remove it  4 event  5 length of the acts  6 length of one account's acts
--       7 again, where it is not known whether the first try was carried out
-- plan {dataset, issuer, raises, author = {record, roles = {name: epoch}, key} as he was let in, or false, keys_version, id, username, expect = epoch or '' for a new account, reuse = id of a tombstone, now,
--       admin = expiry of an able admin's token, or 0, able, overlap = end or 0, roles = {name: ±n}, teams = {name: ±n}, need_roles = [], need_teams = [],
--       line = how it stands in the catalogue, or '' where it no longer does,
--       setup_offer, setup_take = the setup link that is offered with it, or used by it, or '', user = whether it is a person,
--       add = [[place, member, expiry]], remove = [[place, member]], enters = [place], leaves = [place], deleted, node, claim, sequence, hash, takes_away}
-- reply {'ok', epoch, identity, node id, lease …} or {what is wrong, which}
local plan = cjson.decode(ARGV[1])
local meta, feed, acts = KEYS[1], KEYS[2], KEYS[3]

local dataset, here, latest = where(meta, plan.raises)
if dataset ~= plan.dataset then
  return { 'dataset' }
end
-- F6: an epoch of this server would be one of the term before.
if latest == '' or not is_met(plan, here, KEYS[25]) then
  return { 'unmet' }
end
local done = ARGV[7] and done_before(KEYS[15], ARGV[4])
if done then
  return committed(done, here, KEYS[19])
end
if not is_claimed(plan, KEYS[4]) then
  return { 'claim' }
end
if is_full(plan, acts, KEYS[4], ARGV[5]) then
  return { 'full' }
end
if plan.author and not is_unchanged(plan.author, KEYS[18], KEYS[7], KEYS[17], KEYS[24]) then
  return { 'author' }
end
-- A token must not be signed by a key that was revoked or retired meanwhile.
if plan.keys_version ~= false and tonumber(redis.call('HGET', KEYS[17], 'version') or '0') ~= plan.keys_version then
  return { 'keys' }
end

if plan.setup_take ~= '' and redis.call('GET', KEYS[22]) ~= plan.setup_take then
  return { 'link_gone' }
end

local state = redis.call('GET', KEYS[13])
if plan.expect == '' then
  if state then
    return { 'conflict' }
  end
  local holder = redis.call('HGET', KEYS[5], plan.username)
  if holder and holder ~= plan.reuse then
    return { 'username_taken' }
  end
else
  if not state then
    return { 'not_found' }
  end
  if string.sub(state, 1, string.find(state, ' ', 1, true) - 1) ~= plan.expect then
    return { 'conflict' }
  end
end
for _, role in ipairs(plan.need_roles) do
  if redis.call('HEXISTS', KEYS[7], role) == 0 then
    return { 'unknown_role', role }
  end
end
for _, team in ipairs(plan.need_teams) do
  if redis.call('HEXISTS', KEYS[8], team) == 0 then
    return { 'unknown_team', team }
  end
end
-- The last active admin stays: whoever is one, or is one with a living token, must not be the only one who then is not.
-- A raise can't ask: it says so.
local admin_until = plan.raises and -1 or tonumber(redis.call('ZSCORE', KEYS[11], plan.id) or '-1')
if admin_until >= 0 and not plan.able and redis.call('ZCARD', KEYS[11]) <= 1 then
  return { 'last_admin' }
end
if admin_until > plan.now and plan.admin <= plan.now
  and redis.call('ZCOUNT', KEYS[11], '(' .. plan.now, '+inf') <= 1 then
  return { 'last_admin' }
end

local counter = redis.call('HINCRBY', meta, 'counter', 1)
local epoch = redis.call('HGET', meta, 'term') .. '-' .. counter
redis.call('SET', KEYS[13], epoch .. ' ' .. ARGV[2])
redis.call('XADD', feed, 'MAXLEN', '~', 100000, epoch, 't', 'account', 'k', plan.id, 'b', ARGV[2])
if ARGV[3] == '' then
  redis.call('DEL', KEYS[14])
else
  redis.call('SET', KEYS[14], ARGV[3])
end
index(plan)
if plan.setup_take ~= '' then
  redis.call('DEL', KEYS[22])
elseif plan.setup_offer ~= '' then
  redis.call('SET', KEYS[22], plan.setup_offer)
end
record_act(plan, epoch, ARGV[4], acts, ARGV[5], KEYS[4], KEYS[20], { KEYS[15], KEYS[16] }, ARGV[6])
return committed(epoch, here, KEYS[19])
