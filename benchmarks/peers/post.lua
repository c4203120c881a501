-- For wrk: POST /jobs, each time with another number; says at the end what came of it, as JSON.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

local n = 0

function request()
  n = n + 1
  return wrk.format(nil, "/jobs", nil, string.format('{"task": "noop", "params": {"n": %d}}', n))
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "failed": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, failed, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
