-- Whether one epoch, or one id of a stream, comes before another.
local function before(a, b)
  local a_term, a_counter = string.match(a, '(%d+)-(%d+)')
  local b_term, b_counter = string.match(b, '(%d+)-(%d+)')
  if tonumber(a_term) ~= tonumber(b_term) then
    return tonumber(a_term) < tonumber(b_term)
  end
  return tonumber(a_counter) < tonumber(b_counter)
end

