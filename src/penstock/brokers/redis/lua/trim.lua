-- Forgets final jobs, then events, that are past their retention.
-- ARGV[3…]: limit, how long jobs are kept after their end and events after they happened, in ms.
-- Answer: clock, how many are gone.
local limit = tonumber(ARGV[OWN])
local ended_before, told_before = now - ARGV[OWN + 1], now - ARGV[OWN + 2]
go_even_without_memory()

local function trim_jobs()
  local ids = redis.call('ZRANGEBYSCORE', key('done'), '-inf', '(' .. ended_before, 'LIMIT', 0, limit)
  local records, keys = each('HMGET', 'jobs', ids), each('HMGET', 'key_of', ids)
  local gone, spans = {}, {}
  for i, id in ipairs(ids) do
    local job = unpack_record(records[i])
    count(job.state, job.queue, -1)
    for _, name in ipairs({ 'specs', 'jobs', 'results', 'errors', 'progress' }) do collect('HDEL', name, id) end
    collect('ZREM', 'done', id)
    if job.state ~= SUCCEEDED then collect('ZREM', 'ended_badly', id) end
    if keys[i] then
      collect('HDEL', 'keys', keys[i])
      collect('HDEL', 'key_of', id)
    end
    gone[id] = true
    spans[string.sub(id, 1, 5)] = true
  end
  finish()
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
  return #ids
end

-- An entry holds many events and goes when all of them have gone; until then 'skip' counts those of the
-- oldest entry that are gone already.
local function trim_events(most)
  local skip = tonumber(redis.call('HGET', key('meta'), 'skip') or 0)
  local gone, whole = 0, {}
  if most <= 0 then return 0 end
  for _, found in ipairs(redis.call('XRANGE', key('events'), '-', '+', 'COUNT', math.min(most, 1000))) do
    if struct.unpack('<I6', found[2][2], 2) >= told_before then break end
    local left = #found[2][4] / 16 - skip
    if gone + left > most then
      skip = skip + most - gone
      gone = most
      break
    end
    gone = gone + left
    skip = 0
    whole[#whole + 1] = found[1]
  end
  each('XDEL', 'events', whole)
  if gone > 0 then redis.call('HSET', key('meta'), 'skip', skip) end
  return gone
end

local jobs = trim_jobs()
return { clock, jobs + trim_events(limit - jobs) }
