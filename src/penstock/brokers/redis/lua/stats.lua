-- Figures. Answer: clock, now, depths, paused queues, head of each queue's line (queue, due time),
-- workers' words, when they were last seen, their leases, how many jobs each holds (in order of words),
-- queues' own depth limits, of each queue its name and how many jobs ended lately (see drains_of_all), the cache's
-- counts, answers that can be given.
local function pairs_of(name) return redis.call('HGETALL', key(name)) end
local counted, heads = pairs_of('depths'), {}
local MOST_TIES = 64
-- The job of lowest rank, then id, of all lines of a queue.
local function head_of(queue)
  local first = redis.call('ZRANGE', key('queue:' .. queue), 0, 0, 'WITHSCORES')
  local id, rank = first[1], tonumber(first[2])
  local best = redis.call('ZRANGE', key('lines:' .. queue), 0, 0, 'WITHSCORES')[2]
  if best and (not rank or tonumber(best) <= rank) then
    if not rank or tonumber(best) < rank then id = nil end
    for _, line in ipairs(redis.call('ZRANGEBYSCORE', key('lines:' .. queue), best, best, 'LIMIT', 0, MOST_TIES)) do
      local other = redis.call('ZRANGE', key('queue:' .. line), 0, 0)[1]
      if other and (not id or other < id) then id = other end
    end
  end
  return id
end
-- Of every queue of which jobs ended lately: its name and how many in each of the last slots of time, the oldest first.
local function drains_of_all()
  local places, found, newest = {}, {}, math.floor(now / DRAIN_MS)
  for n = 1, DRAINS do
    local counts = redis.call('HGETALL', key('drained:' .. newest - DRAINS + n))
    for i = 1, #counts, 2 do
      local queue = counts[i]
      if not places[queue] then
        found[#found + 1] = { queue, { 0, 0, 0, 0, 0, 0 } }
        places[queue] = found[#found][2]
      end
      places[queue][n] = tonumber(counts[i + 1])
    end
  end
  return found
end
-- Anybody may name a queue, so that those in which nothing waits or ends must cost next to nothing.
for i = 1, #counted, 2 do
  local state, queue = string.sub(counted[i], 1, 1), string.sub(counted[i], 2)
  local id = tonumber(state) == QUEUED and tonumber(counted[i + 1]) > 0 and head_of(queue)
  if id then
    local job = job_of(redis.call('HGET', key('jobs'), id), redis.call('HGET', key('specs'), id))
    heads[#heads + 1] = queue
    heads[#heads + 1] = job.due
  end
end
local ended_lately = drains_of_all()
local told, holding = pairs_of('info'), {}
for i = 1, #told, 2 do holding[#holding + 1] = redis.call('HLEN', key('held:' .. told[i])) end
return { clock, now, counted, redis.call('SMEMBERS', key('paused')), heads, told, pairs_of('seen'),
  redis.call('ZRANGE', key('leases'), 0, -1, 'WITHSCORES'), holding,
  pairs_of('shelf:depths'), ended_lately, pairs_of('cache'),
  redis.call('ZCOUNT', key('stale'), '(' .. string.format('%.0f', now), '+inf') }
