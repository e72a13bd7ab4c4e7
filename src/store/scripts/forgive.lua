#!lua
-- Takes one try back from each counter that counts any.
-- KEYS  a counter each
for _, key in ipairs(KEYS) do
  local tries = tonumber(redis.call('GET', key) or '0')
  if tries > 0 then
    redis.call('SET', key, tries - 1, 'KEEPTTL')
  end
end
return redis.status_reply('OK')
