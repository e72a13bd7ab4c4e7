#!lua flags=allow-oom
-- Removes the entries of a stream that come before one; of a stream that is archived none that is not archived yet.
-- KEYS  1 stream  2 heads of its nodes, or of the acts
-- ARGV  1 the first one that is to be kept
-- reply how many were removed
local first, last = ARGV[1], archived(KEYS[2])
if last and before(last, first) and redis.call('XRANGE', KEYS[1], '(' .. last, '(' .. first, 'COUNT', 1)[1] then
  first = last
end
return redis.call('XTRIM', KEYS[1], 'MINID', first)
