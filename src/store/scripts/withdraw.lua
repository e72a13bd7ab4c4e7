#!lua flags=allow-oom
-- An issuer that will change nothing more is no longer waited for. A copy of the store that has this has all its changes before it,
-- and one that lacks it waits for it: so it needs nobody's confirmation to be right.
-- KEYS  1 meta  2 issuers
-- ARGV  1 dataset  2 id of the issuer  3 how it stood, or empty: it asks itself
-- reply 1 it is not in the table; 0 it stays: it has not raised this server, or has moved meanwhile
local dataset, here, epoch = where(KEYS[1], true)
local known = redis.call('HGET', KEYS[2], ARGV[2])
if not known then
  return 1
end
local term = string.match(epoch, '^%d+')
if dataset ~= ARGV[1] or not term or string.match(known, '^%d+') ~= term or (ARGV[3] ~= '' and known ~= ARGV[3]) then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
