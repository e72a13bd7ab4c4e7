-- The issuers that have changed the dataset, and the last term in which each has raised its store: `TERM NODE NAME`.
-- The names of those for whom this term's store still waits.
local function waited_for(issuers, term)
  local names = {}
  local all = redis.call('HGETALL', issuers)
  for i = 1, #all, 2 do
    local raised, name = string.match(all[i + 1], '^(%d+) %S+ (.+)$')
    if tonumber(raised or '0') < tonumber(term) then
      names[#names + 1] = name or all[i]
    end
  end
  return names
end

-- R2: nodes are served once nobody is waited for.
local function serve_if_raised(meta, issuers, here)
  local found = redis.call('HMGET', meta, 'identity', 'term')
  local names = waited_for(issuers, found[2])
  if #names == 0 and found[1] == here then
    redis.call('HSET', meta, 'serving', here)
  end
  return names
end

-- Of what an issuer has written down, `DATASET TERM SERVER` by lines: the terms of this dataset, each with the server whose it was.
local function terms_of(lines, dataset)
  local terms = {}
  for of, term, server in string.gmatch(lines, '(%S+) (%d+) (%S+)\n') do
    if of == dataset then
      terms[#terms + 1] = { term = term, server = server }
    end
  end
  return terms
end

