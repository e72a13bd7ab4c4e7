#!lua
-- Everything that is neither accounts nor calls, of one moment.
-- F3: it writes nothing, and yet is not declared no-writes: so replicas and cut-off primaries refuse it.
-- KEYS  1 meta  2 roles  3 teams  4 keyring  5 issuers  6 acts  7 act heads  8 usernames
-- reply {dataset, identity, epoch or '', meta, roles, teams, keyring, issuers, act heads: each a list of names and values; id of the last act or '', how many accounts}
local dataset, here, epoch = where(KEYS[1])
local reply = { dataset, here, epoch }
for key = 1, 5 do
  reply[#reply + 1] = redis.call('HGETALL', KEYS[key])
end
reply[#reply + 1] = redis.call('HGETALL', KEYS[7])
local last = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)[1]
reply[#reply + 1] = last and last[1] or ''
reply[#reply + 1] = redis.call('ZCARD', KEYS[8])
return reply
