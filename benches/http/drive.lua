-- The requests of wrk. Arguments: how, a file of lines `ACCOUNT TOKEN` of one length, and what the way says below.
--   hot PATH          each request the next token of the file, all of them made beforehand
--   cold PATH OFFSET  the same read from the file, from OFFSET on; in the path, ACCOUNT stands for the account
--   post PATH OFFSET BEARER  a POST, with this token instead of the file's
local next_request

local function head(method, path, account, token)
  return method .. ' ' .. path:gsub('ACCOUNT', account) .. ' HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ' .. token
    .. '\r\n'
end

local function lines(name, offset)
  local file = assert(io.open(name, 'r'))
  file:seek('set', tonumber(offset))
  return function()
    local line = file:read('*l')
    if not line then
      file:seek('set', 0)
      line = file:read('*l')
    end
    return line:sub(1, 36), line:sub(38)
  end
end

function init(arguments)
  local how, name, path = arguments[1], arguments[2], arguments[3]
  if how == 'hot' then
    local requests, at = {}, 0
    for line in io.lines(name) do
      requests[#requests + 1] = head('GET', path, line:sub(1, 36), line:sub(38)) .. '\r\n'
    end
    local count = #requests
    next_request = function()
      at = at % count + 1
      return requests[at]
    end
  elseif how == 'cold' then
    local read = lines(name, arguments[4])
    next_request = function()
      local account, token = read()
      return head('GET', path, account, token) .. '\r\n'
    end
  else
    local read, bearer = lines(name, arguments[4]), arguments[5]
    local body = '{"valid_for_months":6}'
    local rest = 'Content-Type: application/json\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
    next_request = function()
      return head('POST', path, (read()), bearer) .. rest
    end
  end
end

function request()
  return next_request()
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'summary requests=%d duration_us=%d p50_us=%d p99_us=%d connect=%d read=%d write=%d status=%d timeout=%d\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.connect, errors.read,
    errors.write, errors.status, errors.timeout))
end
