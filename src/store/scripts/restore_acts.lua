#!lua
-- Some acts are put back into a store that is being restored, among all acts and among those of the accounts concerned.
-- KEYS  1 meta  2 acts  3… acts of accounts, as named in the plan by their place
-- ARGV  1 which backup  2 length of one account's acts  3 plan [[place of each account, …] of each act]  4… id, epoch and event of each
-- reply 1, or -1: this backup is not being restored
if redis.call('HGET', KEYS[1], 'restoring') ~= ARGV[1] then
  return -1
end
for number, places in ipairs(cjson.decode(ARGV[3])) do
  local at = 1 + 3 * number
  redis.call('XADD', KEYS[2], ARGV[at], 'v', ARGV[at + 1], 'e', ARGV[at + 2])
  for _, place in ipairs(places) do
    redis.call('XADD', KEYS[2 + place], 'MAXLEN', '~', ARGV[2], ARGV[at], 'v', ARGV[at + 1], 'e', ARGV[at + 2])
  end
end
return 1
