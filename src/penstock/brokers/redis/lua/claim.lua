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

-- Ids of the best jobs of a line, taken from it. ZPOPMIN would look up each, and write out its rank.
local function take(name, most)
  local ids = redis.call('ZRANGE', name, 0, most - 1)
  if #ids > 0 then redis.call('ZREMRANGEBYRANK', name, 0, #ids - 1) end
  return ids
end

-- Ids of the best jobs of several queues without other lines.
local function merge(names)
  local line = {}
  for _, queue in ipairs(names) do
    local best = redis.call('ZRANGE', key('queue:' .. queue), 0, limit - 1, 'WITHSCORES')
    for i = 1, #best, 2 do line[#line + 1] = { tonumber(best[i + 1]), best[i], queue } end
  end
  table.sort(line, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  local taken = {}
  for i = 1, math.min(limit, #line) do
    taken[i] = line[i][2]
    collect('ZREM', 'queue:' .. line[i][3], line[i][2])
  end
  return taken
end

promote()
local asked, seen, lines, rare = {}, {}, {}, { key('paused'), key('withdrawn'), key('families') }
for i = OWN + 4, #ARGV do
  local queue = ARGV[i]
  if not seen[queue] then
    asked[#asked + 1] = queue
    lines[#lines + 1] = key('lines:' .. queue)
    rare[#rare + 1] = lines[#lines]
  end
  seen[queue] = true
end
-- Where nothing is paused or split and no job belongs to a client or a limited task, one EXISTS says so.
local wider = redis.call('EXISTS', unpack(rare)) > 0
local any_lines = wider and redis.call('EXISTS', unpack(lines)) > 0
local withdrawing = wider and there('withdrawn')
if withdrawing then
  part('family').withdraw(part('family').PAGE)
  withdrawing = there('withdrawn')
end
local open = asked
if wider then
  local paused = {}
  for _, queue in ipairs(redis.call('SMEMBERS', key('paused'))) do paused[queue] = true end
  open = {}
  for _, queue in ipairs(asked) do
    if not paused[queue] then open[#open + 1] = queue end
  end
end

-- The lines that are not empty, and the queues that have more of them.
local function candidates()
  if any_lines then return part('lines').candidates(open) end
  if #open == 1 then return open, {} end
  local found = {}
  for _, queue in ipairs(open) do
    if there('queue:' .. queue) then found[#found + 1] = queue end
  end
  return found, {}
end
-- A choice is to be made only where several lines are not empty, which costs a table per job.
local found, capped = candidates()
local any_named = false
for _, line in ipairs(found) do any_named = any_named or named(line) end
local ids = {}
if #found == 1 then
  ids = take(key('queue:' .. found[1]), any_named and math.min(limit, part('lines').room(found[1])) or limit)
elseif any_named then
  ids = part('lines').choose(found, limit, asked)
elseif #found > 1 then
  ids = merge(found)
end
local chosen = #ids
if withdrawing then ids = part('family').startable(ids) end
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

-- Most jobs were never touched. The record of one that begins to run is put together from pieces of its stamp: to take
-- the numbers apart and pack them again would be most of what claiming costs.
local FRESH, FRESH_CHARGED = struct.pack('<BBI2BB', RUNNING, 0, 1, 0, 0), struct.pack('<I2BBB', 1, 0, 0, 0)
local fresh = {} -- by the length and line in the stamp: queue, what stands behind the token, how many
local function begin_fresh(spec, token)
  local length = string.byte(spec, 10)
  local stamped = string.sub(spec, 10, 10 + length)
  local like = fresh[stamped]
  if not like then
    local queue = queue_at(spec, 11, length)
    like = { queue = queue, rest = struct.pack('<I6I6B', now, 0, #queue) .. queue .. worker, n = 0 }
    fresh[stamped] = like
  end
  like.n = like.n + 1
  return FRESH .. string.sub(spec, 7, 9) .. '\0' .. string.sub(spec, 1, 6) .. token .. like.rest
end
local function begin_again(id, record, token)
  local job = unpack_record(record)
  job.state, job.attempt, job.token, job.worker = RUNNING, job.attempt + 1, token, worker
  if not was_split(job.flags) then
    job.started = now
    collect('HDEL', 'progress', id)
  end
  job.finished = 0
  collect('HDEL', 'errors', id)
  count(QUEUED, job.queue, -1)
  count(RUNNING, job.queue, 1)
  return pack(job), struct.pack('<I2BBB', job.attempt, job.losses, job.crashes, job.handbacks)
end

for i, id in ipairs(ids) do
  local token = first + i - 1
  local field = token_field(token)
  local record, charge
  if records[i] then
    record, charge = begin_again(id, records[i], token)
  else
    record, charge = begin_fresh(specs[i], field), FRESH_CHARGED
  end
  add_pair(started, id, record)
  add_pair(held, field, id)
  charged[i] = charge
  tell('r', id, string.sub(charge, 1, 2), worker)
end
for _, like in pairs(fresh) do
  count(QUEUED, like.queue, -like.n)
  count(RUNNING, like.queue, like.n)
end
hold_lease(worker, now + lease)
finish()
-- Whoever got less than was asked for got all there is, unless jobs wait for a limit.
local function any_left(queue)
  if chosen < limit and not any_lines then return false end
  return redis.call('EXISTS', key('queue:' .. queue), key('lines:' .. queue)) > 0
end
for _, queue in ipairs(open) do
  if withdrawing then
    ring(queue)
  elseif not any_left(queue) then
    redis.call('DEL', key('bell:' .. queue))
  elseif chosen >= limit or capped[queue] then
    ring(queue)
  else
    redis.call('SADD', key('blocked'), queue) -- whoever makes room rings
  end
end
local split = {}
if wider and there('families') then
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
