-- F6: which server this is. It changes with each start of the server, each failover, each restored copy.
local function identity()
  local info = redis.call('INFO', 'server', 'replication')
  return string.match(info, 'run_id:(%x+)') .. ':' .. string.match(info, 'master_replid:(%x+)')
    .. ':' .. string.match(info, 'role:(%a+)')
end

-- Where the answer of a script comes from.
-- reply dataset, identity, epoch: the epoch is empty where no issuer has met the dataset on this server yet, so that its
-- epochs are another term's and nothing may rest on it.
local function where(meta)
  local found = redis.call('HMGET', meta, 'dataset', 'identity', 'term', 'counter')
  local here = identity()
  local epoch = found[2] == here and found[3] .. '-' .. found[4] or ''
  return found[1] or '', here, epoch
end

