-- Jobs that wait for others: held when they are submitted, released or given up when those have ended.
-- The rules are those of core/after.py.
local HELD_AT = 253402300799999
local WAIT = '<I4BI6' -- how many it still waits for, 1 if it runs whatever becomes of them, when it is due then
local TAIL = '<I2B' -- behind the fixed part and those ids: how many, and 1 if it runs whatever becomes of them

-- What this script has read or changed of the two hashes, false for what is not there; written at its end.
local waiting, following, over = {}, {}, {}
local changed_waits, changed_followers = {}, {}

local function fetch(name, found, ids, read_one)
  local wanted = {}
  for _, id in ipairs(ids) do
    if found[id] == nil then
      found[id] = false
      wanted[#wanted + 1] = id
    end
  end
  for i, kept in ipairs(each('HMGET', name, wanted)) do
    if kept then found[wanted[i]] = read_one(kept) end
  end
end
local function read_wait(kept)
  local left, anyway, due = struct.unpack(WAIT, kept)
  return { left = left, anyway = anyway == 1, due = due }
end
local function as_it_is(kept) return kept end

local function write(name, changed, found, packed)
  local gone = {}
  for id in pairs(changed) do
    if found[id] then put(name, id, packed(found[id])) else gone[#gone + 1] = id end
  end
  each('HDEL', name, gone)
end

local function release(id, wait)
  local job = wait.job
  job.due = math.max(now, wait.due)
  if job.due > now then
    schedule(job.queue, job.due, id)
  else
    job.state = QUEUED
    count(SCHEDULED, job.queue, -1)
    count(QUEUED, job.queue, 1)
    enqueue(job.queue, job.due + job.head, id)
    tell('q', id, '')
  end
  put('jobs', id, pack(job))
end

local function id_text(id)
  local hex = string.gsub(id, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
  return string.format('%s-%s-%s-%s-%s', string.sub(hex, 1, 8), string.sub(hex, 9, 12), string.sub(hex, 13, 16),
    string.sub(hex, 17, 20), string.sub(hex, 21))
end
local BECAME = { [FAILED] = 'failed', [CANCELLED] = 'was cancelled' }
local function give_up(id, wait)
  local job = wait.job
  local failure = '{"code":"CANCELLED","message":"job ' .. wait.cause .. ', which it waits for, '
    .. (BECAME[wait.became] or 'is not known any more') .. '","detail":""}'
  end_unsettled(id, job, CANCELLED, failure, '{"error":' .. failure .. '}')
  over[id] = CANCELLED
end

-- What becomes of a job now that less is in its way.
local function resolve(id)
  local wait = waiting[id]
  changed_waits[id] = true
  if wait.cause then
    waiting[id] = false
    give_up(id, wait)
  elseif wait.left == 0 then
    waiting[id] = false
    release(id, wait)
  end
end
local function blame(wait, cause, state)
  if wait.anyway or wait.cause or state == SUCCEEDED then return end
  wait.cause, wait.became = cause, state
end

-- A job as it is submitted, before anybody has looked at those that it waits for.
local function follower(id, list, anyway, due, head, queue)
  local job = { state = SCHEDULED, flags = 0, attempt = 0, losses = 0, crashes = 0, handbacks = 0, head = head,
    due = HELD_AT, token = 0, started = 0, finished = 0, queue = queue, worker = '' }
  put('jobs', id, pack(job))
  count(SCHEDULED, queue, 1)
  tell('s', id, '')
  waiting[id] = { left = 0, anyway = anyway == 1, due = due, job = job }
  return { id = id, after = ids_of(list) }
end
-- Takes from a fixed part what stands behind it.
local function without_tail(fixed)
  local count, anyway = struct.unpack(TAIL, string.sub(fixed, -3))
  local size = 16 * count
  return string.sub(fixed, 1, -4 - size), string.sub(fixed, -3 - size, -4), anyway
end

-- Looks at those that new jobs wait for; fresh has the ids of this submission.
local function hold(followed, fresh)
  local ahead, seen = {}, {}
  for _, one in ipairs(followed) do
    for _, other in ipairs(one.after) do
      if not seen[other] then ahead[#ahead + 1] = other end
      seen[other] = true
    end
  end
  local states, specs, records = {}, each('HMGET', 'specs', ahead), each('HMGET', 'jobs', ahead)
  for i, other in ipairs(ahead) do
    local job = job_of(records[i], specs[i])
    states[other] = job and job.state or (fresh[other] and QUEUED)
  end
  fetch('followers', following, ahead, as_it_is)
  for _, one in ipairs(followed) do
    local wait, counted = waiting[one.id], {}
    for _, other in ipairs(one.after) do
      local state = over[other] or states[other]
      if other == one.id then state = nil end
      if state and state < SUCCEEDED then
        if not counted[other] then
          wait.left = wait.left + 1
          following[other] = (following[other] or '') .. one.id
          changed_followers[other] = true
        end
        counted[other] = true
      else
        blame(wait, id_text(other), state)
      end
    end
    resolve(one.id)
  end
end

-- One round: those that wait for what ended from one place of the list of ends to another.
local function follow_some(first, last)
  local ids, theirs = {}, {}
  for i = first, last do
    ids[#ids + 1] = ended[i]
    over[ended[i]] = ended_as[i]
  end
  fetch('waits', waiting, ids, read_wait)
  fetch('followers', following, ids, as_it_is)
  for _, id in ipairs(ids) do
    if waiting[id] then waiting[id], changed_waits[id] = false, true end -- it was cancelled while it waited
    for _, one in ipairs(ids_of(following[id] or '')) do theirs[#theirs + 1] = one end
  end
  fetch('waits', waiting, theirs, read_wait)
  local touched, met = {}, {}
  for _, id in ipairs(ids) do
    local counted = {} -- an id that was purged and submitted again stands in the list twice
    for _, one in ipairs(ids_of(following[id] or '')) do
      local wait = not counted[one] and waiting[one]
      counted[one] = true
      if wait then
        wait.left = wait.left - 1
        blame(wait, id_text(id), over[id])
        if not met[one] then touched[#touched + 1] = one end
        met[one] = true
      end
    end
    if following[id] then following[id], changed_followers[id] = false, true end
  end
  for i, record in ipairs(each('HMGET', 'jobs', touched)) do
    local wait = waiting[touched[i]]
    wait.job = wait.job or unpack_record(record)
  end
  for _, one in ipairs(touched) do resolve(one) end
end

-- For finish(): what the end of jobs means to those that wait for them.
local function follow()
  local first = 1
  while first <= #ended do
    local last = #ended
    follow_some(first, last)
    first = last + 1
  end
  write('waits', changed_waits, waiting, function(wait)
    return struct.pack(WAIT, wait.left, wait.anyway and 1 or 0, wait.due)
  end)
  write('followers', changed_followers, following, as_it_is)
end

return { follower = follower, without_tail = without_tail, hold = hold, follow = follow }
