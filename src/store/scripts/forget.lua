#!lua flags=allow-oom
-- An issuer is declared gone for good, with all that it alone may know: no store waits for it any more.
-- KEYS  1 meta  2 issuers  3 acts  4 act heads  5 acts that no block links
-- ARGV  1 plan  2 event  3 length of the acts  4 again, where it is not known whether the first try was carried out
-- plan {dataset, id, node, claim, sequence, hash, takes_away}
-- reply {'ok', epoch, identity} or {what is wrong}
local plan = cjson.decode(ARGV[1])
local dataset, here, epoch = where(KEYS[1], true)
if dataset ~= plan.dataset then
  return { 'dataset' }
end
if epoch == '' then
  return { 'unmet' }
end
local done = ARGV[4] and done_before(KEYS[3], ARGV[2])
if done then
  return { 'ok', done, here }
end
if not is_claimed(plan, KEYS[4]) then
  return { 'claim' }
end
if redis.call('HDEL', KEYS[2], plan.id) == 0 then
  return { 'not_found' }
end
serve_if_raised(KEYS[1], KEYS[2], here)
record_act(plan, epoch, ARGV[2], KEYS[3], ARGV[3], KEYS[4], KEYS[5], {}, '0')
return { 'ok', epoch, here }
