#!lua flags=no-writes
-- The headers of some blocks of the firehose, without their events.
-- KEYS  1 firehose shard
-- ARGV  1 from where  2 how many
-- reply {{id, header} …}
local headers = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local header = ''
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'b' then
      header = entry[2][i + 1]
    end
  end
  headers[#headers + 1] = { entry[1], header }
end
return headers
