#!lua flags=no-writes
-- The oldest entry of a shard that a group of its readers has not finished.
-- KEYS  1 shard
-- ARGV  1 group
-- reply its id; empty: there is none
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then
    return ''
  end
  return groups
end
local delivered, pending = '0-0', 0
for _, group in ipairs(groups) do
  local said = {}
  for at = 1, #group, 2 do
    said[group[at]] = group[at + 1]
  end
  if said['name'] == ARGV[1] then
    delivered, pending = said['last-delivered-id'], said['pending']
  end
end
-- Taken up and not finished: those come before all that are not taken up.
if pending > 0 then
  return redis.call('XPENDING', KEYS[1], ARGV[1])[2]
end
local next = redis.call('XRANGE', KEYS[1], '(' .. delivered, '+', 'COUNT', 1)[1]
return next and next[1] or ''
