#!lua flags=allow-oom
-- A node reports what it has applied, and gets what comes after it: in one script, so that both belong to one server.
-- KEYS  1 meta  2 feed  3 leases  4 keyring
-- ARGV  1 dataset  2 identity that the node follows, or empty: none yet  3 applied epoch  4 node id  5 entries at the most
--       6 identity of the server whose the term of the applied epoch was, or empty
-- reply {dataset, identity, epoch or '', version of the key set, the counter at which the term of the applied epoch ended, 0 where all of it is
--        missing and was made up for, or '', epoch, type, key, body, epoch, type, key, body …}
local dataset, here, epoch = where(KEYS[1])
local term = string.match(ARGV[3], '^(%d+)-')
-- R2: the same term of another server is another history.
local past = redis.call('HMGET', KEYS[1], 'ended:' .. term, 'identity:' .. term, 'lacks:' .. term .. ' ' .. ARGV[6])
local ended = past[2] == ARGV[6] and past[1] or past[3] and '0' or ''
local reply = { dataset, here, epoch, redis.call('HGET', KEYS[4], 'version') or '0', ended }
if dataset ~= ARGV[1] or epoch == '' or ARGV[2] ~= here then
  return reply
end
local known = redis.call('HGET', KEYS[3], ARGV[4])
if known then
  local start, reported, rest = string.match(known, '^(%d+ %d+ )(%d+%-%d+)( .*)$')
  if reported and before(reported, ARGV[3]) then
    redis.call('HSET', KEYS[3], ARGV[4], start .. ARGV[3] .. rest)
  end
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[3], '+', 'COUNT', ARGV[5])) do
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
  end
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = fields.t or ''
  reply[#reply + 1] = fields.k or ''
  reply[#reply + 1] = fields.b or ''
end
return reply
