#!lua flags=allow-oom
-- Moves the cursor of an archive, if it is still where it was: of several issuers one archives what comes next.
-- KEYS  1 heads of the nodes of a stream, or of the acts
-- ARGV  1 where it was, or empty  2 where it is now
-- reply 1 it was moved, 0 another one was faster
if (redis.call('HGET', KEYS[1], '#archived') or '') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], '#archived', ARGV[2])
return 1
