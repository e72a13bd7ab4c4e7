-- How far a stream is archived: the id of the last entry that is; nil where it is not to be archived. A cursor that can't be read has
-- archived nothing.
local function archived(heads)
  local cursor = redis.call('HGET', heads, '#archived')
  if not cursor or string.sub(cursor, 1, 4) == 'off ' then
    return nil
  end
  return string.match(cursor, '^on (%d+%-%d+) ') or '0-0'
end

