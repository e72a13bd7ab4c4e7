#!lua flags=no-writes
-- How much was ever written to a stream, and what of it is still there.
-- KEYS  1 stream
-- reply entries ever added, entries there, the first one's id, the last id that was given
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then
  if string.find(info.err, 'no such key', 1, true) then
    return { '0', '0', '0-0', '0-0' }
  end
  return info
end
local said = {}
for at = 1, #info, 2 do
  said[info[at]] = info[at + 1]
end
return { tostring(said['entries-added']), tostring(said['length']), said['recorded-first-entry-id'],
  said['last-generated-id'] }
