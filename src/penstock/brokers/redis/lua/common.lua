-- What every verb begins with; the verb's own file follows it in the script that is sent.
--
-- KEYS[1]  the namespace in braces, such as {penstock}: one hash tag, so one cluster node has it all
-- ARGV[1]  until when the caller waits, by this server's clock in ms; a call that arrives later does nothing
-- ARGV[2]  the present by the caller's clock in ms, or 0 for this server's own
-- ARGV[3…] the verb's own
--
-- Every answer is an array that begins with this server's clock in ms.
--
-- Keys, all made by key():
--   specs     hash  job id -> stamp (see STAMP) and the job's fixed part
--   jobs      hash  job id -> record (see pack); a job that was queued and never touched has none
--   results, errors, progress, attempts   hashes by job id; of attempts see settle
--   queue:L   zset  job ids of line L by rank, see queue_of; lines.lua tells which lines a queue has
--   bell:Q    list  a marker where there may be work for a waiter
--   due       zset  scheduled jobs by due time
--   held:W    hash  token -> job id, what worker W holds; W is empty for claims that no worker knows of
--   leases    zset  workers by lapse of their lease      info, seen   hashes by worker
--   waiters   hash  job id -> mailboxes to tell of its end, 16 characters each
--   mail:M    set   what has ended for mailbox M      mailbell:M  list  a marker where there is mail
--   stopping  set   tokens of running jobs that were cancelled
--   done      zset  ids of jobs that ended together, 16 bytes each, by the time of it; of a job that was
--             retried meanwhile too
--   ended_badly  zset  failed and cancelled jobs, by id
--   ids:B     list  job ids made in the span of time B      spans  zset of every B
--   keys      hash  idempotency key -> job id      key_of  hash  job id -> its keys, one after the other
--   shared    hash  job id -> share (see SHARE), of jobs that may share their answer
--   flights   hash  fingerprint -> the one job in flight whose answer will be kept
--   answers   hash  fingerprint -> job that found the answer, and until when it is given (see ANSWER)
--   stale     zset  fingerprints of answers by that time     joins:J  set  submissions that joined job J
--   cache     hash  hits, misses, joined, saved (ms)
--   drained:S hash  queue -> number of its jobs that ended in the ten seconds S
--   shelf:S   hash  name of a document -> the document
--   depths    hash  state and queue -> number of jobs      paused  set of queues
--   waits     hash  job that waits for others -> see WAIT      followers  hash  job -> those that wait for it
--   taken:N   list  times of the requests counted under a name, see meter
--   families, part_of, parts:R, ended:R, partials, withdrawn   see family
--   events    stream  one entry per verb and kind of event      meta  hash

local time = redis.call('TIME')
local clock = time[1] * 1000 + math.floor(time[2] / 1000)
local patience = tonumber(ARGV[1])
if clock > patience then return redis.error_reply('LATE ' .. clock) end
local now = tonumber(ARGV[2])
if now == 0 then now = clock end
local OWN = 3

local SCHEDULED, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5
-- A record's flags: a cancel was asked for; the answer was known, it never ran; it was split, and has begun with that.
local STOP, CACHED, SPLIT = 1, 2, 4
local DRAIN_MS, DRAINS, DRAIN_S = 10000, 6, 120 -- as in core/drain.py, and how long the counts are kept
local CHUNK = 4000 -- Lua's stack holds some 8000 values

local function key(name) return KEYS[1] .. ':' .. name end

-- The first write of a script decides whether a server that is out of memory refuses it. Deleting
-- nothing is a write that is never refused, so that what ends work goes before what brings it.
local function go_even_without_memory() redis.call('DEL', key('nothing')) end

-- Calls a command on a list of any length; its answers, if it gives a list, joined.
local function each(command, name, list)
  local count = #list
  if count == 0 then return {} end
  if count <= CHUNK then return redis.call(command, key(name), unpack(list)) end
  local all = {}
  for first = 1, count, CHUNK do
    local part = redis.call(command, key(name), unpack(list, first, math.min(first + CHUNK - 1, count)))
    if type(part) == 'table' then
      for i = 1, #part do all[#all + 1] = part[i] end
    end
  end
  return all
end

-- Lists of arguments that are collected while jobs are looked at, and written once at the end. They count
-- themselves: finding the end of a long list anew for each job would be most of the work.
local pending, order = {}, {}
local function later(command, name)
  local lists = pending[command]
  if not lists then
    lists = {}
    pending[command] = lists
  end
  local list = lists[name]
  if not list then
    list = { n = 0 }
    lists[name] = list
    order[#order + 1] = { command, name, list }
  end
  return list
end
local function add(list, value)
  local n = list.n + 1
  list[n] = value
  list.n = n
end
local function add_pair(list, first, second)
  local n = list.n
  list[n + 1], list[n + 2] = first, second
  list.n = n + 2
end
local function put(name, field, value) add_pair(later('HSET', name), field, value) end
local function place(name, score, member) add_pair(later('ZADD', name), score, member) end
local function collect(command, name, member) add(later(command, name), member) end

-- A job's record. Times in ms; head is what its priority adds to the due time to give its rank.
-- Crashes were the upper byte of losses once, and handbacks that of head, so that older records read as they should.
local RECORD = '<BBI2BBI3BI6I7I6I6B'
local function pack(job)
  return struct.pack(RECORD, job.state, job.flags, job.attempt, job.losses, job.crashes, job.head, job.handbacks, job.due,
    job.token, job.started, job.finished, #job.queue) .. job.queue .. job.worker
end
local function unpack_record(record)
  local job = {}
  local at, length
  job.state, job.flags, job.attempt, job.losses, job.crashes, job.head, job.handbacks, job.due, job.token, job.started,
    job.finished, length, at = struct.unpack(RECORD, record)
  job.queue = string.sub(record, at, at + length - 1)
  job.worker = string.sub(record, at + length)
  return job
end
-- A line is the name of a queue, and for a job of a client or of a task of which only so many may run a suffix: a zero,
-- eight bytes for the client and eight for the task, all zero for none. Where records and this script say queue,
-- they mean the line, unless it is what a caller named.
local SUFFIX = 17
local function named(line) return string.byte(line, -SUFFIX) == 0 end
local function queue_of(line)
  if named(line) then return string.sub(line, 1, -SUFFIX - 1) end
  return line
end
local function was_split(flags) return math.floor(flags / SPLIT) % 2 == 1 end
-- The stamp in front of a job's fixed part: when it was made, head, length of the line and that line, in which the
-- queue's name is left out if it is the usual one. After a suffix come the client's weight and how many of the task
-- may run, two bytes each, which belong to the stamp and not to the line.
local STAMP, USUAL_QUEUE, TERMS = '<I6I3B', 'default', 4
local function named_at(text, at, length)
  return length >= SUFFIX + TERMS and string.byte(text, at + length - SUFFIX - TERMS) == 0
end
local function queue_at(text, at, length)
  if length == 0 then return USUAL_QUEUE end
  if named_at(text, at, length) then
    local line = string.sub(text, at, at + length - TERMS - 1)
    return #line == SUFFIX and USUAL_QUEUE .. line or line
  end
  return string.sub(text, at, at + length - 1)
end
-- A job that was queued and never touched.
local function untouched(spec)
  local created, head, length, at = struct.unpack(STAMP, spec)
  return { state = QUEUED, flags = 0, attempt = 0, losses = 0, crashes = 0, handbacks = 0, head = head, due = created,
    token = 0, started = 0, finished = 0, queue = queue_at(spec, at, length), worker = '' }
end
local function job_of(record, spec)
  if record then return unpack_record(record) end
  if spec then return untouched(spec) end
end

local function ids_of(text)
  local ids = {}
  for i = 1, #text / 16 do ids[i] = string.sub(text, i * 16 - 15, i * 16) end
  return ids
end

local function token_field(token) return struct.pack('<I7', token) end
-- New tokens grow, also past those that a failed primary may have issued and not passed on: they begin
-- with the time in ms. The jitter keeps two primaries with clocks apart from issuing the same one.
local function new_tokens(count, jitter)
  if count == 0 then return 0 end
  local last = tonumber(redis.call('HGET', key('meta'), 'token') or 0)
  local first = math.max(last + 1, now * 2048 + jitter)
  redis.call('HSET', key('meta'), 'token', string.format('%.0f', first + count - 1))
  return first
end

-- Whether a submission is kept only if all of its jobs are.
local all_or_none = false

local depths = {}
local function count(state, queue, change)
  local counted = depths[queue]
  if not counted then
    counted = { [SCHEDULED] = 0, [QUEUED] = 0, [RUNNING] = 0, [SUCCEEDED] = 0, [FAILED] = 0, [CANCELLED] = 0 }
    depths[queue] = counted
  end
  counted[state] = counted[state] + change
end

-- Events of one kind that follow each other share an entry: its head (kind and time), the job ids, and
-- the data of each after its length, or nothing if none has any. MOST keeps an entry small enough to be read
-- as a piece. Of what begins to run, the data are the worker's name after its length, then two bytes each.
local MOST = 1000
local entry
local function close_entry()
  if not entry then return end
  local data = ''
  if entry.worker then
    data = struct.pack('<B', #entry.worker) .. entry.worker .. table.concat(entry.data)
  elseif entry.telling then
    for i = 1, entry.n do entry.data[i] = struct.pack('<I4', #entry.data[i]) .. entry.data[i] end
    data = table.concat(entry.data)
  end
  redis.call('XADD', key('events'), '*', 'h', entry.kind .. struct.pack('<I6', now), 'i',
    table.concat(entry.ids), 'd', data)
  entry = nil
end
local function tell(kind, id, data, worker)
  if not entry or entry.kind ~= kind or entry.n >= MOST then
    close_entry()
    entry = { kind = kind, ids = {}, data = {}, n = 0, worker = worker }
  end
  local n = entry.n + 1
  entry.n, entry.ids[n], entry.data[n] = n, id, data
  if data ~= '' then entry.telling = true end
end

-- One marker is enough: whoever takes it and leaves work behind puts it back.
local function mark(bell)
  if redis.call('LLEN', key(bell)) == 0 then redis.call('RPUSH', key(bell), '1') end
end
local function ring(queue) mark('bell:' .. queue) end
local rung = {}
local function enqueue(queue, rank, id)
  place('queue:' .. queue, rank, id)
  rung[queue] = true
end

-- A worker that sleeps until the first due time must hear of an earlier one.
local soonest = {}
local function schedule(queue, due, id)
  place('due', due, id)
  if not soonest[queue] or due < soonest[queue] then soonest[queue] = due end
end
local function ring_if_sooner()
  local first
  for queue, due in pairs(soonest) do
    first = first or redis.call('ZRANGE', key('due'), 0, 0, 'WITHSCORES')[2] or false
    if not first or due < tonumber(first) then rung[queue] = true end
  end
end

-- Jobs that end together are one member: they are only looked at when they are trimmed.
local ended, ended_as = {}, {}
local function done(id, state)
  local n = #ended + 1
  ended[n], ended_as[n] = id, state
end

-- The mailboxes that asked for a job that has ended. Nobody may be left to read them, so they expire.
local MAIL_S = 600
local mailed = {}
local function post()
  if #ended == 0 or redis.call('EXISTS', key('waiters')) == 0 then return end
  for i, boxes in ipairs(each('HMGET', 'waiters', ended)) do
    for at = 1, #(boxes or ''), 16 do
      local box = string.sub(boxes, at, at + 15)
      collect('SADD', 'mail:' .. box, ended[i])
      mailed[box] = true
    end
    if boxes then collect('HDEL', 'waiters', ended[i]) end
  end
end
local function ring_mailboxes()
  for box in pairs(mailed) do
    mark('mailbell:' .. box)
    redis.call('EXPIRE', key('mail:' .. box), MAIL_S)
    redis.call('EXPIRE', key('mailbell:' .. box), MAIL_S)
  end
end

-- Answers that may be given to others: see core/sharing.py. Whatever a share is, it stays until the job is forgotten.
-- SHARE: fingerprint, how long an answer is given in ms, waiters. ANSWER: job, until when.
local SHARE, ANSWER = '<c32I6I4', '<c16I6'
local function shares_of(ids)
  if #ids == 0 or redis.call('EXISTS', key('shared')) == 0 then return {} end
  return each('HMGET', 'shared', ids)
end
-- Of the jobs that share, and whose fingerprint names them in this hash: what that says, by their place in ids.
local function named_in(name, ids, shares)
  local prints, places, found = {}, {}, {}
  for i, share in ipairs(shares) do
    if share then prints[#prints + 1], places[#places + 1] = string.sub(share, 1, 32), i end
  end
  for n, named in ipairs(each('HMGET', name, prints)) do
    if named and string.sub(named, 1, 16) == ids[places[n]] then found[places[n]] = named end
  end
  return found
end
-- Only the job in flight leaves its answer: an older one would undo a refresh, or a removal of answers.
local function keep_answers()
  local shares = shares_of(ended)
  local flying = named_in('flights', ended, shares)
  for i, share in ipairs(shares) do
    if share then
      local print, keep, waiters = struct.unpack(SHARE, share)
      if flying[i] then
        collect('HDEL', 'flights', print)
        if ended_as[i] == SUCCEEDED then
          put('answers', print, struct.pack(ANSWER, ended[i], now + keep))
          place('stale', now + keep, print)
        end
      end
      if waiters > 1 then redis.call('DEL', key('joins:' .. ended[i])) end
    end
  end
end
local function forget_shares(ids)
  local shares = shares_of(ids)
  local kept = named_in('answers', ids, shares)
  for i, share in ipairs(shares) do
    if share then collect('HDEL', 'shared', ids[i]) end
    if kept[i] then
      collect('HDEL', 'answers', string.sub(share, 1, 32))
      collect('ZREM', 'stale', string.sub(share, 1, 32))
    end
  end
end

-- What lines.lua does for lines with suffixes whose counts have changed.
local note_line, note_running
local function depths_of_queues()
  local sums, any = {}, false
  for line, counted in pairs(depths) do
    local queue = line
    if named(line) then
      any = true
      queue = queue_of(line)
      note_line(line, counted)
    end
    local sum = sums[queue]
    if not sum and not any then
      sums[queue] = counted
    else
      sum = sum or {}
      local both = {}
      for state, change in pairs(counted) do both[state] = (sum[state] or 0) + change end
      sums[queue] = both
    end
  end
  if any then note_running() end
  return sums
end

local function hold_lease(worker, until_ms) redis.call('ZADD', key('leases'), until_ms, worker) end

-- What else the end of jobs brings about: functions without arguments, which may end further jobs.
local effects = {}

-- Writes all that was collected.
local function finish()
  for i = 1, #effects do effects[i]() end
  ring_if_sooner()
  post()
  keep_answers()
  if #ended > 0 then place('done', now, table.concat(ended)) end
  for i = 1, #order do each(order[i][1], order[i][2], order[i][3]) end
  for queue, counted in pairs(depths_of_queues()) do
    for state, change in pairs(counted) do
      if change ~= 0 then redis.call('HINCRBY', key('depths'), state .. queue, change) end
    end
  end
  close_entry()
  for line in pairs(rung) do ring(queue_of(line)) end
  ring_mailboxes()
end

-- Begins a script's next part after finish().
local function start_over()
  pending, order, depths, rung, soonest, ended, ended_as, mailed = {}, {}, {}, {}, {}, {}, {}, {}
end

-- Collects the removal of final jobs and all that belongs to them; the answer is given to forget_ids after
-- finish().
local function forget(ids, jobs)
  local keys = each('HMGET', 'key_of', ids)
  local gone, spans = {}, {}
  forget_shares(ids)
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

-- Of the jobs of a queue how many ended in each of the last slots of time, the oldest first.
local function drains(queue)
  local counts, newest = {}, math.floor(now / DRAIN_MS)
  for slot = newest - DRAINS + 1, newest do
    counts[#counts + 1] = tonumber(redis.call('HGET', key('drained:' .. slot), queue) or 0)
  end
  return counts
end

-- The parts of jobs as they stand, for the caller to put together.
local function read(ids, with_results)
  local results = {}
  if with_results then results = each('HMGET', 'results', ids) end
  local families = {}
  if redis.call('EXISTS', key('families')) == 1 then families = each('HMGET', 'families', ids) end
  return { clock, each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids), each('HMGET', 'errors', ids),
    each('HMGET', 'progress', ids), results, shares_of(ids), families }
end
