-- A3: an act is numbered under a claim of its node's chain, and committed only while that is held.
-- plan {node, claim, sequence, hash = SHA-256 of the event}
local function is_claimed(plan, heads)
  return redis.call('HGET', heads, plan.node .. '#claim') == plan.claim
end

-- Acts that wait for their archive: there is no room for further ones, but for what only takes something away.
-- plan {takes_away}
local function is_full(plan, acts, heads, length)
  return not plan.takes_away and archived(heads) and redis.call('XLEN', acts) >= tonumber(length)
end

-- A1: the act's entry, among all acts and among those of the accounts concerned; and what the node's next block links.
local function record_act(plan, epoch, event, acts, length, heads, unlinked, accounts, length_of_account)
  local entry
  if archived(heads) then
    entry = redis.call('XADD', acts, '*', 'v', epoch, 'e', event)
  else
    entry = redis.call('XADD', acts, 'MAXLEN', '~', length, '*', 'v', epoch, 'e', event)
  end
  for place, account in ipairs(accounts) do
    if account ~= acts and account ~= accounts[place - 1] then
      redis.call('XADD', account, 'MAXLEN', '~', length_of_account, '*', 'v', epoch, 'e', event)
    end
  end
  local sequence = string.format('%d', plan.sequence)
  local head = tonumber(redis.call('HGET', heads, plan.node) or '0')
  redis.call('HSET', heads, plan.node, string.format('%d', math.max(head, plan.sequence)))
  redis.call('HSET', unlinked, plan.node .. ' ' .. sequence, entry .. ' ' .. plan.hash)
end

