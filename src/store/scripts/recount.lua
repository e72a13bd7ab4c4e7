#!lua
-- The living tokens of one account are counted as they are, if the account is still as it was read.
-- KEYS  1 meta  2 state of the account  3… living tokens of keys, as named in the correction by their place
-- ARGV  1 dataset  2 epoch of the record, or empty: there is none, or it was deleted
--       3 correction {add = [[place, member, expiry]], remove = [[place, member]]}
-- reply how many were corrected
if redis.call('HGET', KEYS[1], 'dataset') ~= ARGV[1] then
  return 0
end
local state = redis.call('GET', KEYS[2])
if (state and string.match(state, '^%S+') or '') ~= ARGV[2] then
  return 0
end
local correction, corrected = cjson.decode(ARGV[3]), 0
for _, token in ipairs(correction.add) do
  corrected = corrected + redis.call('ZADD', KEYS[2 + token[1]], 'CH', token[3], token[2])
end
for _, token in ipairs(correction.remove) do
  corrected = corrected + redis.call('ZREM', KEYS[2 + token[1]], token[2])
end
return corrected
