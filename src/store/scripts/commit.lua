-- What a change answers once it is in the store: its epoch, where that was, and the table of nodes, of which each must have
-- applied the epoch, or be without a lease, before the change holds everywhere (protocols, section 3).
local function committed(epoch, here, leases)
  local reply = { 'ok', epoch, here }
  for _, text in ipairs(redis.call('HGETALL', leases)) do
    reply[#reply + 1] = text
  end
  return reply
end

-- A change is made only by issuers for whom a copy of this server waits that may lack it (R2); by those that raise it also before nodes
-- are served, and only on the server for which they have found out what is lacking. So whoever is not met may be at another server, or
-- at the same one, which knows it no more: neither says that anything is done.
-- plan {issuer = its id, or '': it remembers nothing, raises = identity of the server, or false}
local function is_met(plan, here, issuers)
  if plan.raises and plan.raises ~= here then
    return false
  end
  return plan.issuer == '' or redis.call('HEXISTS', issuers, plan.issuer) == 1
end

