#!lua flags=allow-oom
-- R2: an issuer has raised this server by all that it knows. Nodes are served once each that is known has.
-- KEYS  1 meta  2 issuers
-- ARGV  1 dataset  2 identity of the server that was raised  3 id of the issuer  4 its node, or empty: as it is known  5 its name
--       6 terms that it has met, DATASET TERM SERVER by lines
-- reply {'ok', epoch, issuers that are still waited for …} or {what is wrong}
local dataset, here, epoch = where(KEYS[1], true)
if dataset ~= ARGV[1] then
  return { 'dataset' }
end
-- Of one that was declared gone meanwhile nothing was waited for, nor taken, since: it is met first, and looks once more what is lacking.
local known = redis.call('HGET', KEYS[2], ARGV[3])
if epoch == '' or here ~= ARGV[2] or not known then
  return { 'unmet' }
end
local node = ARGV[4] ~= '' and ARGV[4] or string.match(known, '^%d+ (%S+) ') or '-'
redis.call('HSET', KEYS[2], ARGV[3], string.match(epoch, '^%d+') .. ' ' .. node .. ' ' .. ARGV[5])
-- A term that this server lacks with all that was done in it: the issuer was there, and has made up for what it had done. So whoever has
-- followed it there may follow this server.
for _, met in ipairs(terms_of(ARGV[6], dataset)) do
  if met.server ~= here and redis.call('HGET', KEYS[1], 'identity:' .. met.term) ~= met.server then
    redis.call('HSET', KEYS[1], 'lacks:' .. met.term .. ' ' .. met.server, 1)
  end
end
local reply = { 'ok', epoch }
for _, name in ipairs(serve_if_raised(KEYS[1], KEYS[2], here)) do
  reply[#reply + 1] = name
end
return reply
