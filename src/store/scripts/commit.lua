-- What a change answers once it is in the store: its epoch, where that was, and the table of nodes, of which each must have
-- applied the epoch, or be without a lease, before the change holds everywhere (protocols, section 3).
local function committed(epoch, here, leases)
  local reply = { 'ok', epoch, here }
  for _, text in ipairs(redis.call('HGETALL', leases)) do
    reply[#reply + 1] = text
  end
  return reply
end

