-- The author must still be who he was when he was let in: neither revoked nor narrowed meanwhile, nor signed out.
-- session_key  the session in which he acts; or a key that is always there
-- expected {record = epoch, roles = {name: epoch}, key = the one that signed his token, or '' where he has shown none}
local function is_unchanged(expected, state_key, roles_key, keyring_key, session_key)
  if redis.call('EXISTS', session_key) == 0 then
    return false
  end
  if expected.key ~= '' and redis.call('HEXISTS', keyring_key, 'revoked:' .. expected.key) == 1 then
    return false
  end
  local state = redis.call('GET', state_key) or ''
  local space = string.find(state, ' ', 1, true)
  if not space or string.sub(state, 1, space - 1) ~= expected.record then
    return false
  end
  local record = cjson.decode(string.sub(state, space + 1))
  local names = { record.r }
  for _, role in pairs(record.m or {}) do
    names[#names + 1] = role
  end
  for _, role in ipairs(names) do
    local definition = redis.call('HGET', roles_key, role)
    local version = definition and string.sub(definition, 1, string.find(definition, ' ', 1, true) - 1)
    if version ~= expected.roles[role] then
      return false
    end
  end
  return true
end

