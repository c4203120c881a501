-- Extends a worker's lease, publishes what its attempts say, brings back orders.
-- ARGV[3…7]  worker, what it tells of itself, lease in ms, tokens it holds (eight bytes each), number of queues
-- then its queues, then what its attempts say, five each: token, job id, progress or nothing, event of it,
-- event of lines or nothing
-- Answer: clock, tokens to cancel, tokens that are lost, number of lapsed leases and of jobs in parts whose time is up.
local worker, told, lease, tokens = ARGV[OWN], ARGV[OWN + 1], tonumber(ARGV[OWN + 2]), ARGV[OWN + 3]
local FIRST_QUEUE = OWN + 5
local FIRST_REPORT = FIRST_QUEUE + ARGV[OWN + 4]
go_even_without_memory()
hold_lease(worker, now + lease)
redis.call('HSET', key('info'), worker, told)
redis.call('HSET', key('seen'), worker, now)

local held = redis.call('HGETALL', key('held:' .. worker))
local current = {}
for i = 1, #held, 2 do current[held[i]] = held[i + 1] end

local known, lost = {}, {}
for at = 1, #tokens, 8 do
  local field = string.sub(tokens, at, at + 6)
  known[field] = true
  if not current[field] then lost[#lost + 1] = (struct.unpack('<I7', field)) end
end

for at = FIRST_REPORT, #ARGV, 5 do
  local token, id, progress, event, lines = unpack(ARGV, at, at + 4)
  if current[token_field(tonumber(token))] == id then
    if progress ~= '' then
      put('progress', id, progress)
      tell('p', id, event)
    end
    if lines ~= '' then tell('l', id, lines) end
  end
end

-- A claim whose answer never arrived belongs to a live worker that does not know of it.
for field, id in pairs(current) do
  if not known[field] then
    local job = unpack_record(redis.call('HGET', key('jobs'), id))
    if job.started < now - lease then
      collect('HDEL', 'held:' .. worker, field)
      put('held:', field, id)
      job.worker = ''
      put('jobs', id, pack(job))
      redis.call('ZADD', key('leases'), 0, '')
    end
  end
end

local cancel = {}
if redis.call('EXISTS', key('stopping')) == 1 then
  for field in pairs(current) do
    if redis.call('SISMEMBER', key('stopping'), field) == 1 then
      cancel[#cancel + 1] = (struct.unpack('<I7', field))
    end
  end
end
finish()
-- A waiter that died with the marker in its hands left others asleep beside work, and one that knows when a job is due may
-- be busy by then.
local overdue = redis.call('ZCOUNT', key('due'), '-inf', now) > 0
for at = FIRST_QUEUE, FIRST_REPORT - 1 do
  local queue = ARGV[at]
  if overdue or redis.call('EXISTS', key('queue:' .. queue)) == 1 or redis.call('EXISTS', key('lines:' .. queue)) == 1 and
    redis.call('SISMEMBER', key('blocked'), queue) == 0 then
    if redis.call('SISMEMBER', key('paused'), queue) == 0 then ring(queue) end
  end
end
local lapsed = redis.call('ZCOUNT', key('leases'), '-inf', '(' .. now)
local late = redis.call('ZCOUNT', key('deadlines'), '-inf', now)
return { clock, cancel, lost, lapsed + late }
