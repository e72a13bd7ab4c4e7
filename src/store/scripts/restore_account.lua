#!lua
-- One account is put back into a store that is being restored: all of it, once.
-- KEYS  as account.lua has them: 1 meta  5 names  6 list  9 role references  10 team references  11 admins  12 overlaps  13 state
--       14 profile  21 usernames of people  23 catalogue  26… as named in the plan by their place
-- ARGV  1 which backup  2 plan  3 state with its epoch  4 profile, or empty: it was deleted
-- plan as account.lua has it
-- reply 1 put back, 0 it is there, -1 this backup is not being restored
if redis.call('HGET', KEYS[1], 'restoring') ~= ARGV[1] then
  return -1
end
if redis.call('EXISTS', KEYS[13]) == 1 then
  return 0
end
local plan = cjson.decode(ARGV[2])
redis.call('SET', KEYS[13], ARGV[3])
if plan.deleted then
  -- Its name may be another's by now.
  redis.call('HSETNX', KEYS[5], plan.username, plan.id)
  return 1
end
redis.call('SET', KEYS[14], ARGV[4])
index(plan)
return 1
