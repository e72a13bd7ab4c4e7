#!lua flags=allow-oom
-- An issuer meets the store: the dataset is created or recognised, and a new identity of the server begins a new term.
-- A store that is full is met as well: what is written is little, and without it nothing could be revoked.
-- KEYS  1 meta  2 roles  3 issuers
-- ARGV  1 id that the dataset must have, or empty  2 id for a new dataset, or empty if there must be one  3 issuer, or empty
--       4 issuer of a dataset that has none yet, or empty  5 issuers it may move from, JSON array  6 built-in roles, JSON object
--       7 lease ceiling of a new dataset, in milliseconds  8 terms to remember
--       9 id of the issuer, or empty: it remembers no changes  10 its node, or empty: as it is known  11 its name
--       12 terms that it has met, DATASET TERM SERVER by lines  13 1 where its journal is blank: there is no change of it that this server could lack
-- reply {'ok', dataset, issuer, term, counter, identity, 1 where the dataset was made now, lease ceiling, 1 where this issuer has raised this
--       server already, the terms that have ended: counter and server, by lines, issuers that are waited for …}
--       or {'issuer', the dataset's issuer} or {'dataset', its id, or empty: there is none} or {'restoring', which backup}

-- Of terms that have ended only the latest are kept, and what is said of earlier ones goes with them.
local function forget_terms(meta, kept)
  local fields, terms = redis.call('HKEYS', meta), {}
  for _, field in ipairs(fields) do
    terms[#terms + 1] = tonumber(string.match(field, '^identity:(%d+)$'))
  end
  if #terms <= kept then
    return
  end
  table.sort(terms)
  local oldest = terms[#terms - kept + 1]
  for _, field in ipairs(fields) do
    local of = string.match(field, '^%l+:(%d+)')
    if of and tonumber(of) < oldest then
      redis.call('HDEL', meta, field)
    end
  end
end

-- A term that begins on the same server takes nothing from it: who had raised it has. Not so the one that begins it, and has come back
-- from elsewhere with what it has changed there.
local function raised_as_before(issuers, ended, begun, comes_back)
  local all = redis.call('HGETALL', issuers)
  for i = 1, #all, 2 do
    local raised, rest = string.match(all[i + 1], '^(%d+)( .*)$')
    if tonumber(raised) == ended and all[i] ~= comes_back then
      redis.call('HSET', issuers, all[i], begun .. rest)
    end
  end
end

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
-- F6: epochs of another identity of the server are another term's. It lies beyond every term that this issuer has met: nodes may have
-- followed one there of which this server, a copy from before, knows nothing, and they follow nobody who is not beyond it.
local before = redis.call('HGET', meta, 'identity')
local latest = tonumber(redis.call('HGET', meta, 'term'))
local furthest, elsewhere = 0, 0
for _, met in ipairs(terms_of(ARGV[12], redis.call('HGET', meta, 'dataset'))) do
  furthest = math.max(furthest, tonumber(met.term))
  if met.server ~= here then
    elsewhere = math.max(elsewhere, tonumber(met.term))
  end
end
-- Or somebody else has begun one here who had not met those.
if before ~= here or latest <= elsewhere then
  local beyond = string.format('%d', math.max(latest, furthest) + 1)
  redis.call('HSET', meta, 'identity', here, 'ended:' .. latest, redis.call('HGET', meta, 'counter'))
  -- Another server may begin the same term: whose it was is part of its name.
  redis.call('HSET', meta, 'identity:' .. latest, before or '')
  redis.call('HSET', meta, 'term', beyond, 'counter', 0)
  forget_terms(meta, tonumber(ARGV[8]))
  redis.call('HDEL', meta, 'serving')
  if before == here then
    raised_as_before(KEYS[3], latest, beyond, ARGV[9])
  end
end
for name, definition in pairs(cjson.decode(ARGV[6])) do
  redis.call('HSETNX', roles, name, '0-0 ' .. definition)
end
-- R2: an issuer is known from when it meets the dataset, and its changes are missed from then on. One that has made none has raised this
-- server by all that it knows.
local term = redis.call('HGET', meta, 'term')
local raised, is_new = '0', false
if ARGV[9] ~= '' then
  local known = redis.call('HGET', KEYS[3], ARGV[9])
  local had, node = string.match(known or '', '^(%d+) (%S+) ')
  is_new = not known and ARGV[13] == '1'
  raised = had or is_new and term or '0'
  if ARGV[10] ~= '' or not node then
    node = ARGV[10] ~= '' and ARGV[10] or '-'
  end
  redis.call('HSET', KEYS[3], ARGV[9], raised .. ' ' .. node .. ' ' .. ARGV[11])
end
-- Nobody is served in a term before this issuer has written it down: it raises the server next.
local names = is_new and waited_for(KEYS[3], term) or serve_if_raised(meta, KEYS[3], here)
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
