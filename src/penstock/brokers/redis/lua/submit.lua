-- Keeps jobs, or answers them with what is known.
-- ARGV[3]  ids, 16 bytes each
-- ARGV[4]  delays in ms, 8 bytes each, or nothing if there are none; with AFTER added for a job that waits for others
-- ARGV[5]  idempotency keys, 16 bytes each, all zero for none, or nothing if there are none
-- ARGV[6]  how many jobs of a queue may wait, if the queue has no limit of its own
-- ARGV[7]  1 for each job that is kept even in a full queue, 0 for the others, or nothing if there are none
-- ARGV[8]  a mailbox, then 1 for each job whose end it is to be told of, 0 for the others, or nothing if there are none
-- ARGV[9]  what each job shares, see ASKED, or nothing if none does
-- ARGV[10…] fixed parts, with the stamp but for the time, behind that of a job that waits for others those and
-- TAIL; then, if some share, what the feed tells of each that joins
-- Answer: clock, now, positions (from 1) of the jobs that were not kept as they came, of each how it was
-- answered (a accepted to wait for others, r repeated, h cached, j joined, x refused), their ids, those jobs (see read),
-- of each that was refused the place of the reason in the following list, and that: depth, limit and drains of a full
-- queue.
local ids, delays = ids_of(ARGV[OWN]), ARGV[OWN + 1]
-- Keeping nothing asks whether a job could be kept: this writes nothing, but is refused like any write.
if #ids == 0 then redis.call('SETRANGE', key('nothing'), 0, '') end
local keys = ids_of(ARGV[OWN + 2])
local usual_limit, exempt, awaited, asked = tonumber(ARGV[OWN + 3]), ARGV[OWN + 4], ARGV[OWN + 5], ARGV[OWN + 6]
local FIXED = OWN + 6
local NO_KEY = string.rep('\0', 16)
local known, owners = each('HMGET', 'specs', ids), each('HMGET', 'keys', keys)

local fresh, taken_now, spans = {}, {}, {}
local positions, kinds, answered, refused, full = {}, {}, {}, {}, {}
local function answer(i, kind, id)
  positions[#positions + 1], kinds[#kinds + 1], answered[#answered + 1] = i, kind, id
end
local function note_id(id)
  fresh[id] = true
  local span = string.sub(id, 1, 5)
  local list = spans[span]
  if not list then
    if not there('ids:' .. span) then place('spans', 0, span) end
    list = later('RPUSH', 'ids:' .. span)
    spans[span] = list
  end
  add(list, id)
end

-- Fingerprint, how long the answer is given in ms, and 0 for a job that does not share, 1 for one that does,
-- 2 for one that does not look for an answer.
local ASKED, ASKED_SIZE = '<c32I6B', 39
local LOOKS = 1
local counts = { hits = 0, misses = 0, joined = 0, saved = 0 }
local answers, flights, targets, sources = {}, {}, {}, {}

local function question(i)
  if asked == '' then return end
  local print, keep, how = struct.unpack(ASKED, asked, (i - 1) * ASKED_SIZE + 1)
  if how > 0 then return { print = print, keep = keep, looks = how == LOOKS } end
end
local function look_up()
  local prints = {}
  for i = 1, #ids do
    local asks = question(i)
    if asks and asks.looks then prints[#prints + 1] = asks.print end
  end
  local found, flying = each('HMGET', 'answers', prints), each('HMGET', 'flights', prints)
  for n, print in ipairs(prints) do
    answers[print], flights[print] = found[n] or nil, flying[n] or nil
  end
end
if asked ~= '' then look_up() end

-- The job that found the answer which can still be given: its record and result.
local function source_of(print)
  if not answers[print] then return end
  local id, until_ms = struct.unpack(ANSWER, answers[print])
  if until_ms <= now then return end
  if sources[id] == nil then
    local record = redis.call('HGET', key('jobs'), id)
    local job = record and unpack_record(record)
    sources[id] = job and job.state == SUCCEEDED and { job = job, result = redis.call('HGET', key('results'), id) }
  end
  return sources[id] or nil
end

-- A job that may be joined, as it will be when all of this is written.
local function target_of(id)
  if targets[id] == nil then
    local spec, share = redis.call('HGET', key('specs'), id), redis.call('HGET', key('shared'), id)
    local record = redis.call('HGET', key('jobs'), id)
    local job = spec and share and job_of(record, spec)
    targets[id] = job and { id = id, spec = spec, share = share, job = job, recorded = record and true, joins = {} }
  end
  return targets[id]
end
local function joinable(print, delay)
  local target = flights[print] and target_of(flights[print])
  if not target then return end
  local job = target.job
  if job.state > RUNNING or job.flags % 2 == STOP then return end
  if job.state == SCHEDULED and job.started == 0 and job.due > now + delay then return end
  return target
end

local function raise(target, head)
  local job = target.job
  if head >= job.head then return end
  job.head = head
  target.spec = string.sub(target.spec, 1, 6) .. struct.pack('<I3', head) .. string.sub(target.spec, 10)
  put('specs', target.id, target.spec)
  if target.recorded then put('jobs', target.id, pack(job)) end
  if job.state == QUEUED then
    place('queue:' .. job.queue, job.due + head, target.id)
    count(QUEUED, job.queue, 0) -- so that the head of its line is looked at
  end
end
-- A submission whose answer got lost is sent again, and must not wait twice.
local function join(target, i, head)
  local name = 'joins:' .. target.id
  counts.joined = counts.joined + 1
  answer(i, 'j', target.id)
  if target.joins[ids[i]] or redis.call('SISMEMBER', key(name), ids[i]) == 1 then return end
  target.joins[ids[i]] = true
  collect('SADD', name, ids[i])
  local print, keep, waiters = struct.unpack(SHARE, target.share)
  target.share = struct.pack(SHARE, print, keep, waiters + 1)
  put('shared', target.id, target.share)
  raise(target, head)
  tell('j', target.id, ARGV[FIXED + #ids + i])
end

local function own_key(idempotency, id)
  if not idempotency then return end
  taken_now[idempotency] = id
  put('keys', idempotency, id)
  local target = targets[id]
  if target then
    target.keys = (target.keys or redis.call('HGET', key('key_of'), id) or '') .. idempotency
    put('key_of', id, target.keys)
  else
    put('key_of', id, idempotency)
  end
end

local function hit(source, i, id, fixed, head, queue)
  local job = source.job
  put('specs', id, struct.pack('<I6', now) .. fixed)
  put('jobs', id, pack({ state = SUCCEEDED, flags = CACHED, attempt = 0, losses = 0, crashes = 0, handbacks = 0, head = head,
    due = now, token = 0, started = now, finished = now, queue = queue, worker = job.worker }))
  if source.result then put('results', id, source.result) end
  counts.hits, counts.saved = counts.hits + 1, counts.saved + math.max(0, job.finished - job.started)
  count(SUCCEEDED, queue, 1)
  done(id, SUCCEEDED)
  tell('k', id, '{"cached":true}')
  note_id(id)
  answer(i, 'h', id)
end

local fills = {}
local function fill_of(queue)
  if not fills[queue] then
    local waiting = redis.call('HMGET', key('depths'), QUEUED .. queue, SCHEDULED .. queue)
    fills[queue] = { queue = queue, depth = (waiting[1] or 0) + (waiting[2] or 0),
      limit = tonumber(redis.call('HGET', key('shelf:depths'), queue) or usual_limit) }
  end
  return fills[queue]
end
-- What jobs with the same stamp share. There are many of a kind, and most of keeping one would be to find that out.
local kinds_of = {}
local function kind_of(fixed)
  local stamp = string.sub(fixed, 1, 4 + string.byte(fixed, 4))
  local kind = kinds_of[stamp]
  if not kind then
    local head, length, at = struct.unpack('<I3B', stamp)
    local line = queue_at(stamp, at, length)
    kind = { head = head, line = line, rank = string.format('%.0f', now + head), fill = fill_of(queue_of(line)) }
    if named_at(stamp, at, length) then kind.weight, kind.most = struct.unpack('<I2I2', stamp, at + length - TERMS) end
    kinds_of[stamp] = kind
  end
  return kind
end
local function wait_in_line(kind, id)
  if not kind.waiting then
    kind.waiting = later('ZADD', 'queue:' .. kind.line)
    rung[kind.line] = true
  end
  add_pair(kind.waiting, kind.rank, id) -- a text, as Redis would write out each number anew
  count(QUEUED, kind.line, 1)
  tell('q', id, '')
end
-- Of the jobs of a queue how many ended in each of the last slots of time, the oldest first.
local function drains(queue)
  local counts, newest = {}, math.floor(now / DRAIN_MS)
  for slot = newest - DRAINS + 1, newest do
    counts[#counts + 1] = tonumber(redis.call('HGET', key('drained:' .. slot), queue) or 0)
  end
  return counts
end
local function refuse(i, fill)
  if fill.told ~= fill.depth then -- parts may come in meanwhile
    fill.drains = fill.drains or drains(fill.queue)
    full[#full + 1] = { fill.depth, fill.limit, fill.drains }
    fill.told, fill.place = fill.depth, #full
  end
  refused[#refused + 1] = fill.place
  answer(i, 'x', NO_KEY)
end

local AFTER = 2 ^ 48 -- added to the delay of a job that waits for others
local followed, made_now, specs = {}, struct.pack('<I6', now), later('HSET', 'specs')
local function accept(i, id, fixed, kind, delay, asks)
  local list, anyway
  local head, queue = kind.head, kind.line
  if delay >= AFTER then fixed, list, anyway = part('after').without_tail(fixed) end
  local spec = made_now .. fixed
  add_pair(specs, id, spec)
  local job
  if string.sub(awaited, 16 + i, 16 + i) == '1' then put('waiters', id, string.sub(awaited, 1, 16)) end
  if list then
    answer(i, 'a', id) -- what becomes of it is only known at the end
    followed[#followed + 1] = part('after').follower(id, list, anyway, now + delay - AFTER, head, queue)
  elseif delay == 0 then
    wait_in_line(kind, id)
  else
    job = { state = SCHEDULED, flags = 0, attempt = 0, losses = 0, crashes = 0, handbacks = 0, head = head,
      due = now + delay, token = 0, started = 0, finished = 0, queue = queue, worker = '' }
    put('jobs', id, pack(job))
    schedule(queue, now + delay, id)
    count(SCHEDULED, queue, 1)
    tell('s', id, '')
  end
  note_id(id)
  if not asks then return end
  local share = struct.pack(SHARE, asks.print, asks.keep, 1)
  put('shared', id, share)
  put('flights', asks.print, id)
  flights[asks.print] = id
  targets[id] = { id = id, spec = spec, share = share, job = job or untouched(spec), recorded = job and true, joins = {} }
  if asks.looks then counts.misses = counts.misses + 1 end
end

for i, id in ipairs(ids) do
  local idempotency = keys[i]
  if idempotency == NO_KEY then idempotency = nil end
  local taken = idempotency and (owners[i] or taken_now[idempotency])
  if not taken and (known[i] or fresh[id]) then taken = id end
  if taken then
    answer(i, 'r', taken)
  else
    local fixed, delay = ARGV[FIXED + i], 0
    if delays ~= '' then delay = struct.unpack('<I8', delays, i * 8 - 7) end
    local asks, kind = question(i), kind_of(fixed)
    local fill = kind.fill
    local source = asks and asks.looks and source_of(asks.print)
    local target = not source and asks and asks.looks and joinable(asks.print, delay)
    if source then
      hit(source, i, id, fixed, kind.head, kind.line)
      own_key(idempotency, id)
    elseif target then
      join(target, i, kind.head)
      own_key(idempotency, target.id)
    elseif fill.depth >= fill.limit and string.sub(exempt, i, i) ~= '1' then
      refuse(i, fill)
    else
      if kind.weight then part('lines').learn(kind.line, kind.weight, kind.most) end
      accept(i, id, fixed, kind, delay, asks)
      own_key(idempotency, id)
      fill.depth = fill.depth + 1
    end
  end
end
-- Nothing was written yet.
if all_or_none and #refused > 0 then
  return { clock, now, positions, table.concat(kinds), table.concat(answered), read(answered, true), refused, full }
end
if #followed > 0 then part('after').hold(followed, fresh) end
finish()
if made.lines then part('lines').keep_learnt() end
for name, change in pairs(counts) do
  if change > 0 then redis.call('HINCRBY', key('cache'), name, change) end
end
return { clock, now, positions, table.concat(kinds), table.concat(answered), read(answered, true), refused, full }
