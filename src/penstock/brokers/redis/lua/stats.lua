-- Figures. Answer: clock, now, depths, paused queues, head of each queue's line (queue, due time),
-- workers' words, when they were last seen, their leases, how many jobs each holds (in order of words),
-- queues' own depth limits, of each queue its name and how many jobs ended lately (see drains), the cache's
-- counts, answers that can be given.
local function pairs_of(name) return redis.call('HGETALL', key(name)) end
local counted, heads, seen = pairs_of('depths'), {}, {}
for i = 1, #counted, 2 do
  local queue = string.sub(counted[i], 2)
  if not seen[queue] then
    seen[queue] = true
    local id = redis.call('ZRANGE', key('queue:' .. queue), 0, 0)[1]
    if id then
      local job = job_of(redis.call('HGET', key('jobs'), id), redis.call('HGET', key('specs'), id))
      heads[#heads + 1] = queue
      heads[#heads + 1] = job.due
    end
  end
end
local ended_lately = {}
for queue in pairs(seen) do ended_lately[#ended_lately + 1] = { queue, drains(queue) } end
local told, holding = pairs_of('info'), {}
for i = 1, #told, 2 do holding[#holding + 1] = redis.call('HLEN', key('held:' .. told[i])) end
return { clock, now, counted, redis.call('SMEMBERS', key('paused')), heads, told, pairs_of('seen'),
  redis.call('ZRANGE', key('leases'), 0, -1, 'WITHSCORES'), holding,
  pairs_of('shelf:depths'), ended_lately, pairs_of('cache'),
  redis.call('ZCOUNT', key('stale'), '(' .. string.format('%.0f', now), '+inf') }
