#!lua flags=allow-oom
-- All that some verifications consult, of one moment.
-- F3: it writes nothing, and yet is not declared no-writes: so replicas and cut-off primaries refuse it (READONLY, NOREPLICAS).
-- A store that is full refuses scripts that might write; this one does not, and decisions go on.
-- KEYS  1 meta  2 roles  3 keyring  4… states
-- reply {dataset, identity, epoch or '', version of the key set, {state or nil …}, {role …}, {definition or nil …}}
local dataset, here, epoch = where(KEYS[1])
local states = redis.call('MGET', unpack(KEYS, 4))
local names, seen = {}, {}
local function add(role)
  if type(role) == 'string' and not seen[role] then
    seen[role] = true
    names[#names + 1] = role
  end
end
for _, state in ipairs(states) do
  -- A record begins with its role. Names need no escapes, and no other text in it can hold quotes that are not escaped.
  local role, rest = string.match(state or '', '^%d+%-%d+ {"r":"([^"\\]+)",()')
  if role then
    add(role)
    local teams = string.find(state, '"m":{', rest, true)
    if teams then
      for other in string.gmatch(string.match(state, '^[^}]*', teams + 5), '":"([^"]*)"') do
        add(other)
      end
    end
  elseif state then
    -- Of a deleted account, or written by somebody else. What can't be read names no roles.
    local is_read, record = pcall(cjson.decode, string.match(state, ' (.*)') or '')
    if is_read and type(record) == 'table' then
      add(record.r)
      for _, other in pairs(type(record.m) == 'table' and record.m or {}) do
        add(other)
      end
    end
  end
end
local definitions = #names > 0 and redis.call('HMGET', KEYS[2], unpack(names)) or {}
return { dataset, here, epoch, redis.call('HGET', KEYS[3], 'version') or '0', states, names, definitions }
