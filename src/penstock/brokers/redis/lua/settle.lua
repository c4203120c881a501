-- Stores each verdict whose token is the job's current one.
-- ARGV[3]  the settlements, see HEAD
-- then the result of each, or nothing; then for those without success, six each: position, error, its event,
-- both again for a job that was cancelled meanwhile, and what is to be remembered of the attempt. After a split or a
-- merge step the result is what STEP says, and nothing is to be remembered.
-- Answer: clock, a string with 1 for each that was accepted and 0 for each that was not.
-- HEAD: id, token, and twice (as it is, and if it was cancelled): state, attempt, losses, crashes, hand-backs,
-- delay in ms.
local HEAD, SIZE = '<c16I8BI2BBBI8BI2BBBI8', 52
local heads = ARGV[OWN]
go_even_without_memory()

-- What a job remembers: of each attempt a length (two bytes), when it began and ended, its worker after its
-- length, and what core says of it. The oldest go.
local MOST_ATTEMPTS = 20
local function remember(kept, ending, started, worker)
  local attempt = struct.pack('<I6I6B', started, now, #worker) .. worker .. ending
  local text = (kept or '') .. struct.pack('<I2', #attempt) .. attempt
  local starts, at = {}, 1
  while at <= #text do
    starts[#starts + 1] = at
    at = at + 2 + struct.unpack('<I2', text, at)
  end
  if #starts > MOST_ATTEMPTS then return string.sub(text, starts[#starts - MOST_ATTEMPTS + 1]) end
  return text
end

local total = #heads / SIZE
local troubles = {}
for at = OWN + total + 1, #ARGV, 6 do troubles[tonumber(ARGV[at])] = at end
local ids, troubled, remembered = {}, {}, {}
for i = 1, total do ids[i] = string.sub(heads, (i - 1) * SIZE + 1, (i - 1) * SIZE + 16) end
for i in pairs(troubles) do troubled[#troubled + 1] = ids[i] end
for i, kept in ipairs(each('HMGET', 'attempts', troubled)) do remembered[troubled[i]] = kept end
local records = each('HMGET', 'jobs', ids)
local settled, accepted = {}, {}
local kept, results = later('HSET', 'jobs'), later('HSET', 'results')
local drained = {}

-- Nearly all attempts succeed. Of such a one the new record is put together from pieces of the old one and of the
-- head: to take the numbers apart and pack them again would be most of what settling costs.
local NO_TOKEN, ENDED = token_field(0), struct.pack('<I6', now)
local alike = {} -- by queue and worker in the record: the queue, tokens to give back, how many
local function succeeds(record, at)
  local token = string.sub(record, 17, 23)
  return string.byte(heads, at + 25) == SUCCEEDED and string.byte(record) == RUNNING and string.byte(record, 2) % 2 ~= STOP
    and token ~= NO_TOKEN and string.sub(heads, at + 17, at + 23) == token
end
local function succeed(id, record, at, result)
  local names = string.sub(record, 36)
  local like = alike[names]
  if not like then
    local length = string.byte(names)
    like = { queue = string.sub(names, 2, length + 1), held = later('HDEL', 'held:' .. string.sub(names, length + 2)), n = 0 }
    alike[names] = like
  end
  like.n = like.n + 1
  add(like.held, string.sub(record, 17, 23))
  add_pair(kept, id, string.char(SUCCEEDED) .. string.sub(record, 2, 2) .. string.sub(heads, at + 26, at + 29)
    .. string.sub(record, 7, 9) .. string.sub(heads, at + 30, at + 30) .. string.sub(record, 11, 16) .. NO_TOKEN
    .. string.sub(record, 24, 29) .. ENDED .. names)
  if result ~= '' then add_pair(results, id, result) end
  done(id, SUCCEEDED)
  tell(KINDS[SUCCEEDED], id, '')
end

-- Any other outcome; whether its token holds. Fields one by one and not as a table, which would cost more.
local function settle(i, id, record)
  local _, token, state, attempt, losses, crashes, handbacks, delay,
    c_state, c_attempt, c_losses, c_crashes, c_handbacks, c_delay =
    struct.unpack(HEAD, heads, (i - 1) * SIZE + 1)
  local before, flags, _, _, _, head, _, due, current, started, _, length, at = struct.unpack(RECORD, record)
  if before ~= RUNNING or current ~= token or token == 0 then return false end
  local names = string.sub(record, at) -- queue and worker
  local queue, worker = string.sub(names, 1, length), string.sub(names, length + 1)
  local trouble, finished = troubles[i], 0
  if trouble and ARGV[trouble + 5] ~= '' then
    put('attempts', id, remember(remembered[id], ARGV[trouble + 5], started, worker))
  end
  if flags % 2 == STOP then
    state, attempt, losses, crashes, handbacks, delay = c_state, c_attempt, c_losses, c_crashes, c_handbacks, c_delay
    if trouble then trouble = trouble + 2 end
    collect('SREM', 'stopping', token_field(token))
  end
  count(RUNNING, queue, -1)
  count(state, queue, 1)
  collect('HDEL', 'held:' .. worker, token_field(token))
  if state == SCHEDULED then
    due = now + delay
    schedule(queue, due, id)
  elseif state == QUEUED then
    enqueue(queue, due + head, id)
  elseif state == RUNNING then
    part('family').steps[id] = ARGV[OWN + i]
    aside(queue, -1)
    if not was_split(flags) then flags = flags + SPLIT end
    names = queue
  else
    finished = now
    done(id, state)
    drained[queue] = (drained[queue] or 0) + 1
    if state ~= SUCCEEDED then place('ended_badly', 0, id) end
  end
  local result, failure, tale = ARGV[OWN + i], '', ''
  if trouble then failure, tale = ARGV[trouble + 1], ARGV[trouble + 2] end
  if state == SUCCEEDED and result ~= '' then add_pair(results, id, result) end
  if failure ~= '' then put('errors', id, failure) end
  add_pair(kept, id,
    struct.pack(RECORD, state, flags, attempt, losses, crashes, head, handbacks, due, 0, started, finished, length) .. names)
  if state ~= RUNNING then tell(KINDS[state], id, tale) end
  return true
end

for i = 1, total do
  local id, record, at, holds = ids[i], records[i], (i - 1) * SIZE, false
  if record and not settled[id] then
    if succeeds(record, at) then
      succeed(id, record, at, ARGV[OWN + i])
      holds = true
    else
      holds = settle(i, id, record)
    end
  end
  if holds then settled[id] = true end
  accepted[i] = holds and '1' or '0'
end
for _, like in pairs(alike) do
  count(RUNNING, like.queue, -like.n)
  count(SUCCEEDED, like.queue, like.n)
  drained[like.queue] = (drained[like.queue] or 0) + like.n
end
finish()
local slot = 'drained:' .. math.floor(now / DRAIN_MS)
for line, jobs in pairs(drained) do
  if redis.call('HINCRBY', key(slot), queue_of(line), jobs) == jobs then redis.call('EXPIRE', key(slot), DRAIN_S) end
end
return { clock, table.concat(accepted) }
