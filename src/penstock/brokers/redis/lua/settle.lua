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
local released, drained = {}, {}
for i = 1, total do
  local id, token, state, attempt, losses, crashes, handbacks, delay,
    c_state, c_attempt, c_losses, c_crashes, c_handbacks, c_delay =
    struct.unpack(HEAD, heads, (i - 1) * SIZE + 1)
  accepted[i] = '0'
  if records[i] and not settled[id] then
    -- Fields one by one and not as a table, as this is what settling costs.
    local before, flags, _, _, _, head, _, due, current, started, _, length, at = struct.unpack(RECORD, records[i])
    if before == RUNNING and current == token and token > 0 then
      accepted[i] = '1'
      settled[id] = true
      local names = string.sub(records[i], at) -- queue and worker
      local queue, worker = string.sub(names, 1, length), string.sub(names, length + 1)
      local trouble, finished = troubles[i], 0
      if trouble and ARGV[trouble + 5] ~= '' then
        put('attempts', id, remember(remembered[id], ARGV[trouble + 5], started, worker))
      end
      if flags % 2 == STOP then
        state, attempt, losses, crashes, handbacks, delay =
          c_state, c_attempt, c_losses, c_crashes, c_handbacks, c_delay
        if trouble then trouble = trouble + 2 end
        collect('SREM', 'stopping', token_field(token))
      end
      count(RUNNING, queue, -1)
      count(state, queue, 1)
      if not released[worker] then released[worker] = later('HDEL', 'held:' .. worker) end
      add(released[worker], token_field(token))
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
    end
  end
end
finish()
local slot = 'drained:' .. math.floor(now / DRAIN_MS)
for line, jobs in pairs(drained) do
  if redis.call('HINCRBY', key(slot), queue_of(line), jobs) == jobs then redis.call('EXPIRE', key(slot), DRAIN_S) end
end
return { clock, table.concat(accepted) }
