#!lua flags=no-writes
-- The ids of some entries of a stream, without what they hold.
-- KEYS  1 stream
-- ARGV  1 from where  2 how many
-- reply ids
local ids = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  ids[#ids + 1] = entry[1]
end
return ids
