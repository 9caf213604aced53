-- Sends each request with the next user's JWT: `wrk … -s wrk.lua URL -- TOKENS_FILE`, one JWT a line. Requests are built
-- once, so that the driver costs the same for every proxy. Prints one JSON line at the end.

local requests, count, at = {}, 0, 0

function init(args)
  for jwt in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format("GET", wrk.path, { ["Host"] = wrk.host, ["Authorization"] = "Bearer " .. jwt })
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    'RESULT {"requests":%d,"microseconds":%d,"bytes":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
