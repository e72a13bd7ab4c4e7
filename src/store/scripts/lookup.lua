#!lua flags=allow-oom
-- All that one verification consults, of one moment.
-- F3: it writes nothing, and yet is not declared no-writes: so replicas and cut-off primaries refuse it (READONLY, NOREPLICAS).
-- A store that is full refuses scripts that might write; this one does not, and decisions go on.
-- KEYS  1 meta  2 state  3 roles  4 keyring
-- reply {dataset, identity, epoch or '', version of the key set, state or '', role, definition, role, definition …}
local dataset, here, epoch = where(KEYS[1])
local reply = { dataset, here, epoch, redis.call('HGET', KEYS[4], 'version') or '0', '' }
local state = redis.call('GET', KEYS[2])
if not state then
  return reply
end
reply[5] = state
local record = cjson.decode(string.sub(state, string.find(state, ' ', 1, true) + 1))
local seen = {}
local function add(role)
  if role and not seen[role] then
    seen[role] = true
    local definition = redis.call('HGET', KEYS[3], role)
    if definition then
      reply[#reply + 1] = role
      reply[#reply + 1] = definition
    end
  end
end
add(record.r)
for _, role in pairs(record.m or {}) do
  add(role)
end
return reply
