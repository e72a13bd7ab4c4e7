-- F6: which server this is. It changes with each start of the server, each failover, each restored copy.
-- The fields stand in this order. A pattern that is tried at every place of the text would cost more than all the rest.
local function identity()
  local info = redis.call('INFO', 'server', 'replication')
  local at = 1
  local function field(name)
    local _, last = string.find(info, '\n' .. name .. ':', at, true)
    at = last + 1
    return string.match(info, '^%w+', at)
  end
  local run_id, role = field('run_id'), field('role')
  return run_id .. ':' .. field('master_replid') .. ':' .. role
end

-- Where the answer of a script comes from.
-- unraised  whether it is for an issuer that is about to raise this server by what it knows (R2); nobody else may rest on it before
-- reply dataset, identity, epoch: the epoch is empty where no issuer has met the dataset on this server yet, so that its
-- epochs are another term's, or where one that has changed it before has not raised it yet: nothing may rest on it.
local function where(meta, unraised)
  local found = redis.call('HMGET', meta, 'dataset', 'identity', 'term', 'counter', 'serving')
  local here = identity()
  local answers = found[2] == here and (unraised or found[5] == here)
  return found[1] or '', here, answers and found[3] .. '-' .. found[4] or ''
end

