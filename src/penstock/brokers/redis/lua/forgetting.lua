-- Removes jobs for good: for trim and purge, and what is left of queues.
-- Collects the removal of final jobs and all that belongs to them; the answer is given to forget_ids after
-- finish().
local function forget(ids, jobs)
  local keys = each('HMGET', 'key_of', ids)
  local gone, spans = {}, {}
  part('sharing').forget_shares(ids)
  for i, id in ipairs(ids) do
    local job = jobs[i]
    count(job.state, job.queue, -1)
    for _, name in ipairs({ 'specs', 'jobs', 'results', 'errors', 'progress', 'attempts' }) do
      collect('HDEL', name, id)
    end
    if job.state ~= SUCCEEDED then collect('ZREM', 'ended_badly', id) end
    if keys[i] then
      for _, idempotency in ipairs(ids_of(keys[i])) do collect('HDEL', 'keys', idempotency) end
      collect('HDEL', 'key_of', id)
    end
    gone[id] = true
    spans[string.sub(id, 1, 5)] = true
  end
  return gone, spans
end
local function forget_ids(gone, spans)
  for span in pairs(spans) do
    local name = key('ids:' .. span)
    local kept = {}
    for _, id in ipairs(redis.call('LRANGE', name, 0, -1)) do
      if not gone[id] then kept[#kept + 1] = id end
    end
    redis.call('DEL', name)
    if #kept > 0 then
      each('RPUSH', 'ids:' .. span, kept)
    else
      redis.call('ZREM', key('spans'), span)
    end
  end
end
-- A queue without a job is told of no more: anybody may name one, and any number of them.
local function forget_if_empty(queue)
  local fields = {}
  for state = SCHEDULED, CANCELLED do fields[#fields + 1] = state .. queue end
  for _, jobs in ipairs(redis.call('HMGET', key('depths'), unpack(fields))) do
    if jobs and tonumber(jobs) > 0 then return end
  end
  redis.call('HDEL', key('depths'), unpack(fields))
  redis.call('DEL', key('bell:' .. queue))
end

return { forget = forget, forget_ids = forget_ids, forget_if_empty = forget_if_empty }
