#!lua flags=allow-oom
-- An issuer meets the store: the dataset is created or recognised, and a new identity of the server begins a new term.
-- A store that is full is met as well: what is written is little, and without it nothing could be revoked.
-- KEYS  1 meta  2 roles  3 issuers
-- ARGV  1 id that the dataset must have, or empty  2 id for a new dataset, or empty if there must be one  3 issuer, or empty
--       4 issuer of a dataset that has none yet, or empty  5 issuers it may move from, JSON array  6 built-in roles, JSON object
--       7 lease ceiling of a new dataset, in milliseconds  8 terms to remember
--       9 id of the issuer, or empty: it remembers no changes  10 its node, or empty: as it is known  11 its name
-- reply {'ok', dataset, issuer, term, counter, identity, 1 where the dataset was made now, lease ceiling, 1 where this issuer has raised this
--       server already, the terms that have ended: counter and server, by lines, issuers that are waited for …}
--       or {'issuer', the dataset's issuer} or {'dataset', its id, or empty: there is none} or {'restoring', which backup}
local meta, roles = KEYS[1], KEYS[2]
local wanted = ARGV[3]
-- Half of it is not to be taken for a dataset, nor for an empty store.
local restoring = redis.call('HGET', meta, 'restoring')
if restoring then
  return { 'restoring', restoring }
end
local dataset = redis.call('HGET', meta, 'dataset') or ''
if (ARGV[1] ~= '' and dataset ~= ARGV[1]) or (dataset == '' and ARGV[2] == '') then
  return { 'dataset', dataset }
end
local issuer = redis.call('HGET', meta, 'issuer')
if not issuer and wanted == '' then
  wanted = ARGV[4]
end
if issuer and wanted ~= '' and issuer ~= wanted then
  local may_move = false
  for _, former in ipairs(cjson.decode(ARGV[5])) do
    if former == issuer then may_move = true end
  end
  if not may_move then
    return { 'issuer', issuer }
  end
  issuer = wanted
end

local here = identity()
local created = redis.call('HSETNX', meta, 'dataset', ARGV[2])
if created == 1 then
  -- From its first account on.
  redis.call('HSET', meta, 'indexed', 2)
end
-- The longest lease that a node of this dataset may hold.
redis.call('HSETNX', meta, 'lease_ceiling_ms', ARGV[7])
redis.call('HSETNX', meta, 'term', 0)
redis.call('HSETNX', meta, 'counter', 0)
if issuer or wanted ~= '' then
  redis.call('HSET', meta, 'issuer', issuer or wanted)
end
-- F6: epochs of another identity of the server are another term's.
local before = redis.call('HGET', meta, 'identity')
if before ~= here then
  local term = tonumber(redis.call('HGET', meta, 'term'))
  redis.call('HSET', meta, 'identity', here, 'ended:' .. term, redis.call('HGET', meta, 'counter'))
  -- Another server may begin the same term: whose it was is part of its name.
  redis.call('HSET', meta, 'identity:' .. term, before or '')
  redis.call('HSET', meta, 'term', string.format('%d', term + 1), 'counter', 0)
  local forgotten = string.format('%d', term - tonumber(ARGV[8]))
  redis.call('HDEL', meta, 'serving', 'ended:' .. forgotten, 'identity:' .. forgotten)
end
for name, definition in pairs(cjson.decode(ARGV[6])) do
  redis.call('HSETNX', roles, name, '0-0 ' .. definition)
end
-- R2: an issuer is known from when it meets the dataset, and its changes are missed from then on.
local raised = '0'
if ARGV[9] ~= '' then
  local known = redis.call('HGET', KEYS[3], ARGV[9])
  local term, node = string.match(known or '', '^(%d+) (%S+) ')
  raised = term or '0'
  if ARGV[10] ~= '' or not node then
    node = ARGV[10] ~= '' and ARGV[10] or '-'
  end
  redis.call('HSET', KEYS[3], ARGV[9], raised .. ' ' .. node .. ' ' .. ARGV[11])
end
local term = redis.call('HGET', meta, 'term')
local names = serve_if_raised(meta, KEYS[3], here)
local past, servers = {}, {}
local all = redis.call('HGETALL', meta)
for i = 1, #all, 2 do
  local of = string.match(all[i], '^identity:(%d+)$')
  if of then
    servers[of] = all[i + 1]
  end
end
for of, server in pairs(servers) do
  past[#past + 1] = of .. ' ' .. (redis.call('HGET', meta, 'ended:' .. of) or '0') .. ' ' .. server
end
local reply = { 'ok', redis.call('HGET', meta, 'dataset'), redis.call('HGET', meta, 'issuer') or '', term,
  redis.call('HGET', meta, 'counter'), here, tostring(created), redis.call('HGET', meta, 'lease_ceiling_ms'),
  raised == term and '1' or '0', table.concat(past, '\n') }
for _, name in ipairs(names) do
  reply[#reply + 1] = name
end
return reply
