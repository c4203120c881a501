-- Forgets final jobs, then events, that are past their retention.
-- ARGV[3…]: limit, how long jobs are kept after their end and events after they happened, in ms.
-- Answer: clock, how many are gone.
local limit = tonumber(ARGV[OWN])
local ended_before, told_before = now - ARGV[OWN + 1], now - ARGV[OWN + 2]
go_even_without_memory()

-- Up to limit ids of jobs that ended before that time. Whoever was retried since is named by a later member.
local function past_jobs()
  local ids, records, seen = {}, {}, {}
  while #ids < limit do
    local found = redis.call('ZRANGE', key('done'), 0, 0, 'WITHSCORES')
    if not found[1] or tonumber(found[2]) >= ended_before then break end
    local together = ids_of(found[1])
    local read, left = each('HMGET', 'jobs', together), {}
    local parts = there('part_of') and part('family').parts_among(together) or {} -- they go with their job
    for i, id in ipairs(together) do
      local job = read[i] and unpack_record(read[i])
      if job and job.state >= SUCCEEDED and job.finished == tonumber(found[2]) and not seen[id] and not parts[id] then
        if #ids < limit then
          seen[id] = true
          ids[#ids + 1], records[#records + 1] = id, job
        else
          left[#left + 1] = id
        end
      end
    end
    redis.call('ZREM', key('done'), found[1])
    if #left > 0 then redis.call('ZADD', key('done'), found[2], table.concat(left)) end
  end
  return ids, records
end

local function trim_jobs()
  local ids, jobs = past_jobs()
  local gone, spans = part('forgetting').forget(ids, jobs)
  part('family').drop_families(ids)
  finish()
  part('forgetting').forget_ids(gone, spans)
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

-- What can be given to nobody any more; it is little, and not counted.
local function trim_answers()
  local stale = redis.call('ZRANGEBYSCORE', key('stale'), '-inf', now, 'LIMIT', 0, 1000)
  each('HDEL', 'answers', stale)
  each('ZREM', 'stale', stale)
end

local parts = 0
if there('withdrawn') then
  parts = part('family').withdraw(math.min(limit, 1000))
  limit = limit - parts
end
local jobs = trim_jobs()
trim_answers()
return { clock, parts + jobs + trim_events(limit - jobs) }
