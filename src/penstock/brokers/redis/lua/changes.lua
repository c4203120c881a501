-- What verbs do to jobs, collected while they look at them and written once by finish(). Follows common.lua.

-- What most calls do not need, a file each, is made when it is first asked for: making all those functions would take
-- longer than most calls do. `makers` is filled by what is put between this file and the verb's, see scripts.py.
local makers, made = {}, {}
local function part(name)
  if not made[name] then made[name] = makers[name]() end
  return made[name]
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
local entries = {} -- written by finish(), as a submission may still be dropped as a whole
local function close_entry()
  if not entry then return end
  local data = ''
  if entry.worker then
    data = struct.pack('<B', #entry.worker) .. entry.worker .. table.concat(entry.data)
  elseif entry.telling then
    for i = 1, entry.n do entry.data[i] = struct.pack('<I4', #entry.data[i]) .. entry.data[i] end
    data = table.concat(entry.data)
  end
  entries[#entries + 1] = { entry.kind .. struct.pack('<I6', now), table.concat(entry.ids), data }
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

-- A worker that sleeps until the first due time must hear of an earlier one. What is first in another queue it may not
-- have heard of.
local soonest = {}
local function schedule(queue, due, id)
  place('due', due, id)
  if not soonest[queue] or due < soonest[queue] then soonest[queue] = due end
end
local function ring_if_sooner()
  if not next(soonest) then return end
  local first = redis.call('ZRANGE', key('due'), 0, 0, 'WITHSCORES')
  local record = first[1] and redis.call('HGET', key('jobs'), first[1])
  local where = record and queue_of(unpack_record(record).queue)
  for line, due in pairs(soonest) do
    if where ~= queue_of(line) or due < tonumber(first[2]) then rung[line] = true end
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
  if #ids == 0 or not there('shared') then return {} end
  return each('HMGET', 'shared', ids)
end

local function depths_of_queues()
  local sums, any = {}, false
  for line, counted in pairs(depths) do
    local queue = line
    if named(line) then
      any = true
      queue = queue_of(line)
      part('lines').note_line(line, counted)
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
  if any then part('lines').note_running() end
  return sums
end

-- A job that waits for its parts is in the state of running, but takes up no room that a limit allows.
local function aside(line, change)
  if named(line) then part('lines').change_running(line, change) end
end
local function leave_line(id, job)
  if job.state == QUEUED then collect('ZREM', 'queue:' .. job.queue, id) end
  if job.state == SCHEDULED then collect('ZREM', 'due', id) end
end
-- Ends a job that no attempt settles: one that waits, for its turn, for others or for its parts, or that is taken from
-- the attempt that runs.
local function end_unsettled(id, job, state, failure, tale)
  leave_line(id, job)
  if job.state == RUNNING and job.token == 0 then aside(job.queue, 1) end
  if job.state == RUNNING and job.token > 0 then
    collect('HDEL', 'held:' .. job.worker, token_field(job.token))
    collect('SREM', 'stopping', token_field(job.token))
  end
  count(job.state, job.queue, -1)
  count(state, job.queue, 1)
  job.state, job.token, job.finished = state, 0, now
  put('jobs', id, pack(job))
  put('errors', id, failure)
  place('ended_badly', 0, id)
  tell(KINDS[state], id, tale)
  done(id, state)
end

local function hold_lease(worker, until_ms) redis.call('ZADD', key('leases'), until_ms, worker) end

-- Writes all that was collected. The end of a job may bring about the end of others; where nobody has asked for
-- any of that, one EXISTS says so.
local function finish()
  local wider = #ended > 0
    and redis.call('EXISTS', key('families'), key('followers'), key('waiters'), key('shared')) > 0
  if made.family or (wider and there('families')) then part('family').follow() end -- parts may end their job
  if made.after or (wider and there('followers')) then part('after').follow() end
  ring_if_sooner()
  if wider and there('waiters') then post() end
  if wider and there('shared') then part('sharing').keep_answers() end
  if #ended > 0 then place('done', now, table.concat(ended)) end
  for i = 1, #order do each(order[i][1], order[i][2], order[i][3]) end
  for queue, counted in pairs(depths_of_queues()) do
    local more = 0
    for state, change in pairs(counted) do
      if change ~= 0 then redis.call('HINCRBY', key('depths'), state .. queue, change) end
      more = more + change
    end
    if more < 0 then part('forgetting').forget_if_empty(queue) end
  end
  close_entry()
  for i = 1, #entries do
    redis.call('XADD', key('events'), '*', 'h', entries[i][1], 'i', entries[i][2], 'd', entries[i][3])
  end
  for line in pairs(rung) do ring(queue_of(line)) end
  ring_mailboxes()
end

-- Begins a script's next part after finish().
local function start_over()
  pending, order, depths, rung, soonest, ended, ended_as, mailed, entries = {}, {}, {}, {}, {}, {}, {}, {}, {}
end

-- The parts of jobs as they stand, for the caller to put together.
local function read(ids, with_results)
  local results = {}
  if with_results then results = each('HMGET', 'results', ids) end
  local families = {}
  if #ids > 0 and there('families') then families = each('HMGET', 'families', ids) end
  return { clock, each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids), each('HMGET', 'errors', ids),
    each('HMGET', 'progress', ids), results, shares_of(ids), families }
end
