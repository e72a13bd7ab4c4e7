#!lua flags=allow-oom
-- A signed checkpoint of the audit, if none was written since the last one was read: of several issuers one writes it (A3).
-- KEYS  1 meta  2 checkpoints
-- ARGV  1 dataset  2 id of the last one, or empty  3 the checkpoint  4 how many are kept
-- reply 1 written, 0 another one was faster
if redis.call('HGET', KEYS[1], 'dataset') ~= ARGV[1] then
  return 0
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '') ~= ARGV[2] then
  return 0
end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], '*', 'c', ARGV[3])
return 1
