#!lua flags=allow-oom
-- The sealed document of keys, and where it was read, for issuers: they have it before they have raised the store. It writes nothing and is
-- refused by replicas all the same (F3).
-- KEYS  1 meta  2 keyring
-- reply {dataset, identity, epoch or '', version or '0', document or ''}
local dataset, here, epoch = where(KEYS[1], true)
local version, document = redis.call('HGET', KEYS[2], 'version'), redis.call('HGET', KEYS[2], 'document')
return { dataset, here, epoch, version or '0', document or '' }
