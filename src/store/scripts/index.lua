-- What an account is found and counted by, as it is after a change. The keys are those of account.lua.
-- plan {id, username, expect, deleted, user, line, able, admin, overlap, roles, teams, remove, add, leaves, enters}
local function index(plan)
  if plan.expect == '' then
    redis.call('HSET', KEYS[5], plan.username, plan.id)
    redis.call('ZADD', KEYS[6], 0, plan.username)
    if plan.user then
      redis.call('ZADD', KEYS[21], 0, plan.username)
    end
  elseif plan.deleted then
    -- The name stays taken for as long as the activity is kept.
    redis.call('ZREM', KEYS[6], plan.username)
    redis.call('ZREM', KEYS[21], plan.username)
  end
  for _, line in ipairs(redis.call('ZRANGEBYLEX', KEYS[23], '[' .. plan.username .. '\n', '(' .. plan.username .. '\v')) do
    redis.call('ZREM', KEYS[23], line)
  end
  if plan.line ~= '' then
    redis.call('ZADD', KEYS[23], 0, plan.line)
  end
  if plan.able then
    redis.call('ZADD', KEYS[11], plan.admin, plan.id)
  else
    redis.call('ZREM', KEYS[11], plan.id)
  end
  if plan.overlap > 0 then
    redis.call('ZADD', KEYS[12], plan.overlap, plan.id)
  else
    redis.call('ZREM', KEYS[12], plan.id)
  end
  for role, by in pairs(plan.roles) do
    redis.call('HINCRBY', KEYS[9], role, by)
  end
  for team, by in pairs(plan.teams) do
    redis.call('HINCRBY', KEYS[10], team, by)
  end
  for _, token in ipairs(plan.remove) do
    redis.call('ZREM', KEYS[25 + token[1]], token[2])
  end
  for _, token in ipairs(plan.add) do
    redis.call('ZADD', KEYS[25 + token[1]], token[3], token[2])
  end
  for _, place in ipairs(plan.leaves) do
    redis.call('ZREM', KEYS[25 + place], plan.username)
  end
  for _, place in ipairs(plan.enters) do
    redis.call('ZADD', KEYS[25 + place], 0, plan.username)
  end
end

