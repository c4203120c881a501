-- Jobs that were split. The rules are those of core/family.py.
--
-- families   hash  job id -> see FAMILY; of a job that has ended it stays as long as that one
-- part_of    hash  part's id -> number (I4), run (I7), job id
-- parts:R    string  ids of the parts, 16 bytes each      ended:R  bitmap  numbers of those that have ended
-- partials   hash  job id -> what has been merged so far
-- withdrawn  list  parts to be withdrawn in pages, see WITHDRAWAL
-- deadlines  zset  jobs by when they must have ended, counted from their first start
-- timeouts   hash  job id -> how long that is, for people
--
-- A run is the token under which the first part was handed out: a job that is retried has another one, so that a part
-- of an earlier run that ends late counts for nothing.
local FAMILY = '<I7I4I4I4I4I4I4BBB' -- run, total, done, failed, merged, ready, block, known, skip, over
local NUMBER, RUN, WITHDRAWAL = '<I4', '<I7', '<I7BI4I4B' -- run, how, from, to, 1 if nothing of the run is needed afterwards
local FORGET, STOP_THEM = 1, 2
local GONE = CANCELLED + 1 -- what a part has become that is forgotten before it ended
local PAGE = 500
local MERGE_STEPS = 64
local NO_MERGE = 4294967295

local function run_key(name, run) return string.format('%s:%.0f', name, run) end

local function read_family(packed)
  local one = {}
  one.run, one.total, one.done, one.failed, one.merged, one.ready, one.block, one.known, one.skip, one.over =
    struct.unpack(FAMILY, packed)
  return one
end
local function pack_family(one)
  return struct.pack(FAMILY, one.run, one.total, one.done, one.failed, one.merged, one.ready, one.block, one.known, one.skip,
    one.over)
end
local function families_of(parents)
  local found = {}
  for i, packed in ipairs(each('HMGET', 'families', parents)) do
    if packed then found[parents[i]] = read_family(packed) end
  end
  return found
end
-- Of each of these jobs that is a part: what it is a part of, as text; its number; of each such text: run, job; those
-- jobs. No table is made per part, as this is what ending one costs.
local function parts_among(ids)
  local whole, numbers, wholes, parents = {}, {}, {}, {}
  local kept = each('HMGET', 'part_of', ids)
  for i = 1, #kept do
    local text = kept[i]
    if text then
      local of = string.sub(text, 5)
      whole[ids[i]], numbers[ids[i]] = of, struct.unpack(NUMBER, text)
      if not wholes[of] then
        local run, at = struct.unpack(RUN, of)
        wholes[of] = { run = run, parent = string.sub(of, at) }
        parents[#parents + 1] = wholes[of].parent
      end
    end
  end
  return whole, numbers, wholes, parents
end

local function withdraw_later(run, how, from, to, last)
  if from < to or last == 1 then redis.call('RPUSH', key('withdrawn'), struct.pack(WITHDRAWAL, run, how, from, to, last)) end
end

-- Forgets when the time of a whole job is up.
local function drop_deadline(id)
  collect('ZREM', 'deadlines', id)
  collect('HDEL', 'timeouts', id)
end

-- Forgets that jobs which are forgotten, or begin anew, were split.
local function drop_families(ids)
  if #ids == 0 or not there('families') then return end
  for id, one in pairs(families_of(ids)) do
    if there(run_key('parts', one.run)) then withdraw_later(one.run, FORGET, 0, one.total, 1) end
    collect('HDEL', 'families', id)
    collect('HDEL', 'partials', id)
    drop_deadline(id)
  end
end

local function stop_part(id, job)
  if job.flags % 2 ~= STOP then
    job.flags = job.flags + STOP
    put('jobs', id, pack(job))
    collect('SADD', 'stopping', token_field(job.token))
  end
end
local CANCELLED_PART = '{"code":"CANCELLED","message":"cancelled on request","detail":""}'
local function cancel_part(id, job)
  if job.flags % 2 ~= STOP then job.flags = job.flags + STOP end
  end_unsettled(id, job, CANCELLED, CANCELLED_PART, '{"error":' .. CANCELLED_PART .. '}')
end

-- What becomes of one part that has not ended; true if it is gone.
local function withdraw_part(id, job, how)
  if job.state == RUNNING then
    stop_part(id, job)
    if how == FORGET then -- from now on it is like any job that is to stop
      local span = string.sub(id, 1, 5)
      collect('HDEL', 'part_of', id)
      collect('RPUSH', 'ids:' .. span, id)
      place('spans', 0, span)
    end
  elseif how == FORGET then
    leave_line(id, job)
    count(job.state, job.queue, -1)
    return true
  else
    cancel_part(id, job)
  end
end
-- For parts that have ended, which are nearly all, no table is made, as this is what merging costs.
local QUEUE_AT = struct.size(RECORD)
local function withdraw_parts(ids, how)
  local records, bare, gone = each('HMGET', 'jobs', ids), {}, {}
  local anybody = redis.call('EXISTS', key('followers'), key('waiters')) > 0
  local function forget_waiting(id, job)
    if not withdraw_part(id, job, how) then return end
    gone[#gone + 1] = id
    if anybody then done(id, GONE) end -- waits for it
  end
  for i, id in ipairs(ids) do
    local record = records[i]
    if not record then
      bare[#bare + 1] = id
    elseif string.byte(record) < SUCCEEDED then
      forget_waiting(id, unpack_record(record))
    elseif how == FORGET then
      count(string.byte(record), string.sub(record, QUEUE_AT + 1, QUEUE_AT + string.byte(record, QUEUE_AT)), -1)
      gone[#gone + 1] = id
    end
  end
  for i, spec in ipairs(each('HMGET', 'specs', bare)) do
    if spec then forget_waiting(bare[i], untouched(spec)) end
  end
  for _, name in ipairs({ 'specs', 'jobs', 'results', 'errors', 'progress', 'attempts', 'part_of' }) do
    each('HDEL', name, gone)
  end
  each('ZREM', 'ended_badly', gone) -- those that ended when their job was gone already
end

-- Withdraws up to so many parts that nobody needs any more; how many.
local function withdraw(limit)
  local gone = 0
  while gone < limit do
    local head = redis.call('LINDEX', key('withdrawn'), 0)
    if not head then break end
    local run, how, from, to, last = struct.unpack(WITHDRAWAL, head)
    local upto = math.min(to, from + limit - gone)
    if upto > from then
      withdraw_parts(ids_of(redis.call('GETRANGE', key(run_key('parts', run)), from * 16, upto * 16 - 1)), how)
    end
    finish() -- the next entry may be about the same parts
    start_over()
    gone = gone + upto - from
    if upto < to then
      redis.call('LSET', key('withdrawn'), 0, struct.pack(WITHDRAWAL, run, how, upto, to, last))
    else
      redis.call('LPOP', key('withdrawn'))
      if last == 1 then redis.call('DEL', key(run_key('parts', run)), key(run_key('ended', run))) end
    end
  end
  return gone
end

-- Those of the ids that may be begun: all but parts whose job has ended or begun anew. They stay to be withdrawn.
local function startable(ids)
  local whole, _, wholes, parents = parts_among(ids)
  local found, kept = families_of(parents), {}
  for _, id in ipairs(ids) do
    local part = wholes[whole[id] or '']
    local one = part and found[part.parent]
    if not part or (one and one.run == part.run and one.over == 0) then kept[#kept + 1] = id end
  end
  return kept
end

-- Writes what has been collected of a hash, so that it can be read.
local function flush(name)
  local list = pending.HSET and pending.HSET[name]
  if not list then return end
  each('HSET', name, list)
  for i = list.n, 1, -1 do list[i] = nil end
  list.n = 0
end

local function let_go(parent, one, state, queue)
  if one.over == 1 then return end
  one.over = 1
  if state == SUCCEEDED then
    withdraw_later(one.run, FORGET, 0, one.total, 1)
  else
    withdraw_later(one.run, STOP_THEM, one.ready, one.total, 0)
  end
  collect('HDEL', 'partials', parent)
  drop_deadline(parent)
  if queue then rung[queue] = true end
end

-- Fails a job that was split, wherever it is.
local function fail_whole(parent, job, code, message, detail)
  local failure = cjson.encode({ code = code, message = message, detail = detail })
  end_unsettled(parent, job, FAILED, failure, '{"error":' .. failure .. '}')
end

-- Splits and merge steps that are over in this script: job id -> what settle was told of it.
local steps = {}
local said = {} -- what those say of how far their job has come
local STEP = '<I4I4I4' -- parts that are merged or NO_MERGE, lengths of the progress and of its event; then the partial result
local function after_step(parent, one, told)
  local upto, length, event, at = struct.unpack(STEP, told)
  if upto == NO_MERGE then
    one.known = 1
    return
  end
  withdraw_later(one.run, FORGET, one.merged, upto, 0)
  one.merged = upto
  if length > 0 then
    said[parent] = string.sub(told, at, at + length - 1)
    put('progress', parent, said[parent])
    tell('p', parent, string.sub(told, at + length, at + length + event - 1))
  end
  put('partials', parent, string.sub(told, at + length + event))
end

local function tell_progress(parent, one)
  local ended_parts, known = one.done + one.failed, said[parent] or redis.call('HGET', key('progress'), parent)
  local message = known and cmsgpack.unpack(known).message or ''
  if message == '' then message = string.format('%.0f of %.0f parts', ended_parts, one.total) end
  tell('p', parent, string.format('{"fraction":%.6f,"message":', ended_parts / one.total) .. cjson.encode(message) .. '}')
end

local function advance(parent, one, job)
  if job.state ~= RUNNING or job.token > 0 or one.known == 0 then return end
  local blocks = math.ceil(one.total / one.block)
  local size = one.block * math.max(1, math.ceil(blocks / MERGE_STEPS))
  if one.ready < math.min(one.total, (math.floor(one.merged / size) + 1) * size) then return end
  job.state = QUEUED
  put('jobs', parent, pack(job))
  count(RUNNING, job.queue, -1)
  aside(job.queue, 1)
  count(QUEUED, job.queue, 1)
  enqueue(job.queue, job.due + job.head, parent)
  tell('q', parent, '')
end

-- Marks these numbers as ended and finds how many have from the first on without a gap.
local function mark_ended(one, numbers)
  local name = key(run_key('ended', one.run))
  local command = {}
  for _, number in ipairs(numbers) do
    local n = #command
    command[n + 1], command[n + 2], command[n + 3], command[n + 4] = 'SET', 'u1', '#' .. string.format('%.0f', number), 1
    if n > CHUNK - 8 then
      redis.call('BITFIELD', name, unpack(command))
      command = {}
    end
  end
  if #command > 0 then redis.call('BITFIELD', name, unpack(command)) end
  one.ready = math.min(one.total, redis.call('BITPOS', name, 0, math.floor(one.ready / 8)))
end

-- For finish(): what the end of jobs means to those that they are parts of.
local function follow()
  if (#ended == 0 and next(steps) == nil) or not there('families') then return end
  local whole, number_of, wholes, wanted = parts_among(ended)
  for i = 1, #ended do
    local id = ended[i]
    if not whole[id] then
      wanted[#wanted + 1] = id
    elseif ended_as[i] ~= SUCCEEDED then
      collect('ZREM', 'ended_badly', id)
    end
  end
  for id in pairs(steps) do wanted[#wanted + 1] = id end
  local found = families_of(wanted)
  if next(found) == nil then return end
  flush('jobs')
  flush('errors')
  local affected, jobs, numbers = {}, {}, {}
  for id in pairs(found) do affected[#affected + 1] = id end
  table.sort(affected)
  for i, record in ipairs(each('HMGET', 'jobs', affected)) do jobs[affected[i]] = record and unpack_record(record) end
  for id, told in pairs(steps) do
    if found[id] then after_step(id, found[id], told) end
  end
  for i = 1, #ended do
    local id, state = ended[i], ended_as[i]
    local part = whole[id] and wholes[whole[id]]
    local one = part and found[part.parent]
    if one and one.run == part.run and one.over == 0 then
      if state == SUCCEEDED then one.done = one.done + 1 else one.failed = one.failed + 1 end
      local list = numbers[part.parent]
      if not list then
        list = {}
        numbers[part.parent] = list
      end
      list[#list + 1] = number_of[id]
      if state ~= SUCCEEDED and one.skip == 0 and jobs[part.parent].state < SUCCEEDED then
        local cause = cjson.decode(redis.call('HGET', key('errors'), id) or CANCELLED_PART)
        fail_whole(part.parent, jobs[part.parent], 'PART_FAILED',
          string.format('part %.0f failed: ', number_of[id]) .. cause.code .. ': ' .. cause.message, cause.detail or '')
        let_go(part.parent, one, FAILED, jobs[part.parent].queue)
      end
    elseif found[id] then
      let_go(id, found[id], state, jobs[id] and jobs[id].queue)
    end
  end
  for _, parent in ipairs(affected) do
    local one = found[parent]
    if numbers[parent] then mark_ended(one, numbers[parent]) end
    if one.over == 0 then
      if numbers[parent] and one.known == 1 then tell_progress(parent, one) end
      advance(parent, one, jobs[parent])
    end
    put('families', parent, pack_family(one))
  end
end

return { NUMBER = NUMBER, RUN = RUN, PAGE = PAGE, steps = steps, run_key = run_key, read_family = read_family,
  pack_family = pack_family, families_of = families_of, fail_whole = fail_whole, parts_among = parts_among,
  drop_families = drop_families, drop_deadline = drop_deadline, withdraw = withdraw,
  startable = startable, follow = follow }
