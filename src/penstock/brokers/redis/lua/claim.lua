-- Gives out the best of the queues' due jobs. ARGV[3…]: worker, limit, lease in ms, jitter, queues.
-- Answer: clock, ms until the next scheduled job is due, first token, ids, fixed parts, and of each job its
-- attempt (two bytes), losses, crashes and hand-backs (one each); two lists of reclaim's; three for each that was split:
-- position, family, partial result.
local worker, limit, lease, jitter = ARGV[OWN], tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2]), tonumber(ARGV[OWN + 3])
go_even_without_memory()

local function promote()
  local due = redis.call('ZRANGEBYSCORE', key('due'), '-inf', now, 'LIMIT', 0, 1000)
  if #due == 0 then return end
  local records = each('HMGET', 'jobs', due)
  for i, id in ipairs(due) do
    local job = unpack_record(records[i])
    job.state = QUEUED
    put('jobs', id, pack(job))
    collect('ZREM', 'due', id)
    enqueue(job.queue, job.due + job.head, id)
    count(SCHEDULED, job.queue, -1)
    count(QUEUED, job.queue, 1)
    tell('q', id, '{"attempt":' .. job.attempt .. '}')
  end
  finish()
  start_over()
end

-- Ids and ranks of the best jobs of several queues without other lines, as one line.
local function merge(names)
  local line = {}
  for _, queue in ipairs(names) do
    local best = redis.call('ZRANGE', key('queue:' .. queue), 0, limit - 1, 'WITHSCORES')
    for i = 1, #best, 2 do line[#line + 1] = { tonumber(best[i + 1]), best[i], queue } end
  end
  table.sort(line, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  local taken = {}
  for i = 1, math.min(limit, #line) do
    taken[#taken + 1] = line[i][2]
    taken[#taken + 1] = line[i][1]
    collect('ZREM', 'queue:' .. line[i][3], line[i][2])
  end
  return taken
end

local withdrawing = any_withdrawn()
if withdrawing then
  withdraw(PAGE)
  finish()
  start_over()
  withdrawing = any_withdrawn()
end
promote()
local open, seen, paused = {}, {}, {}
for _, queue in ipairs(redis.call('SMEMBERS', key('paused'))) do paused[queue] = true end
for i = OWN + 4, #ARGV do
  local queue = ARGV[i]
  if not paused[queue] and not seen[queue] then open[#open + 1] = queue end
  seen[queue] = true
end
-- A choice is to be made only where several lines are not empty, which costs a table per job.
local found, capped = candidates(open)
local any_named = false
for _, line in ipairs(found) do any_named = any_named or named(line) end
local line = {}
if #found == 1 then
  line = redis.call('ZPOPMIN', key('queue:' .. found[1]), math.min(limit, room(found[1])))
elseif any_named then
  local asked = {}
  for queue in pairs(seen) do asked[#asked + 1] = queue end
  line = choose(found, limit, asked)
elseif #found > 1 then
  line = merge(found)
end

local ids = {}
for i = 1, #line / 2 do ids[i] = line[i * 2 - 1] end
local chosen = #ids
if withdrawing then ids = startable(ids) end
local specs, records = each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids)

-- A line may name a job that does not wait: one that another release moved on, or that is gone.
local function stale(i) return not specs[i] or (records[i] and string.byte(records[i]) ~= QUEUED) end
local function drop_stale()
  local kept_ids, kept_specs, kept_records, n = {}, {}, {}, 0
  for i, id in ipairs(ids) do
    if not stale(i) then
      n = n + 1
      kept_ids[n], kept_specs[n], kept_records[n] = id, specs[i], records[i]
    end
  end
  ids, specs, records = kept_ids, kept_specs, kept_records
end
for i = 1, #ids do
  if stale(i) then
    drop_stale()
    break
  end
end
local first = new_tokens(#ids, jitter)
local held, started, charged = later('HSET', 'held:' .. worker), later('HSET', 'jobs'), {}

-- The record of a job that begins to run, its attempt, losses, crashes, hand-backs and queue. Most jobs were never touched before;
-- for them no table is made, as this is what claiming costs.
local function begin(record, spec, token)
  if record then
    local job = unpack_record(record)
    job.state, job.attempt, job.token, job.worker = RUNNING, job.attempt + 1, token, worker
    if not was_split(job.flags) then job.started = now end
    job.finished = 0
    return pack(job), job.attempt, job.losses, job.crashes, job.handbacks, job.queue
  end
  local created, head, length, at = struct.unpack(STAMP, spec)
  local queue = queue_at(spec, at, length)
  return struct.pack(RECORD, RUNNING, 0, 1, 0, 0, head, 0, created, token, now, 0, #queue) .. queue .. worker, 1, 0, 0, 0, queue
end

for i, id in ipairs(ids) do
  local token = first + i - 1
  local record, attempt, losses, crashes, handbacks, queue = begin(records[i], specs[i], token)
  if records[i] then
    collect('HDEL', 'progress', id)
    collect('HDEL', 'errors', id)
  end
  add_pair(started, id, record)
  add_pair(held, token_field(token), id)
  count(QUEUED, queue, -1)
  count(RUNNING, queue, 1)
  charged[i] = struct.pack('<I2BBB', attempt, losses, crashes, handbacks)
  tell('r', id, string.sub(charged[i], 1, 2), worker)
end
hold_lease(worker, now + lease)
finish()
-- What is left although more was asked for waits for a limit; whoever makes room rings.
for _, queue in ipairs(open) do
  if withdrawing then
    ring(queue)
  elseif not any_waiting(queue) then
    redis.call('DEL', key('bell:' .. queue))
  elseif chosen >= limit or capped[queue] then
    ring(queue)
  else
    redis.call('SADD', key('blocked'), queue)
  end
end
local split = {}
if any_family() then
  for i, family in ipairs(each('HMGET', 'families', ids)) do
    if family then
      split[#split + 1], split[#split + 2] = i, family
      split[#split + 1] = redis.call('HGET', key('partials'), ids[i]) or ''
    end
  end
end
local next_due = redis.call('ZRANGE', key('due'), 0, 0, 'WITHSCORES')[2]
local due_in = 60000
if next_due then due_in = math.max(0, tonumber(next_due) - now) end
return { clock, due_in, first, table.concat(ids), specs, table.concat(charged), {}, {}, split }
