#!lua
-- A backup begins to be put back into an empty store, or goes on. Nobody meets the store before it is whole.
-- KEYS  1 meta  2… what must not be there
-- ARGV  1 which backup
-- reply {'ok', identity} or {'dataset', its id} or {'restoring', which other one} or {'leftover', a key}
local meta = KEYS[1]
local dataset = redis.call('HGET', meta, 'dataset')
if dataset then
  return { 'dataset', dataset }
end
local restoring = redis.call('HGET', meta, 'restoring')
if restoring then
  return restoring == ARGV[1] and { 'ok', identity() } or { 'restoring', restoring }
end
for place = 2, #KEYS do
  if redis.call('EXISTS', KEYS[place]) == 1 then
    return { 'leftover', KEYS[place] }
  end
end
redis.call('HSET', meta, 'restoring', ARGV[1])
return { 'ok', identity() }
