-- A change whose answer was lost is sent once more, with the same event: what is found done is not done twice. A WAIT that
-- follows waits for it, too: it counts all that was written before the last command of its connection.
-- reply its epoch, or nothing: it was not done
local function done_before(acts, event)
  for _, entry in ipairs(redis.call('XREVRANGE', acts, '+', '-', 'COUNT', 1000)) do
    if entry[2][4] == event then
      return entry[2][2]
    end
  end
end

