#!lua flags=allow-oom
-- Which of these commands the user may not run. None of them is run, so that nothing is written.
-- KEYS  those that are passed to other scripts: whether they may be is tried by passing them here
-- ARGV  commands, each a JSON list of words
-- reply {command and its first word, of each that is refused …}
local refused = {}
for _, text in ipairs(ARGV) do
  local words = cjson.decode(text)
  if not redis.acl_check_cmd(unpack(words)) then
    refused[#refused + 1] = table.concat(words, ' ', 1, math.min(#words, 2))
  end
end
return refused
