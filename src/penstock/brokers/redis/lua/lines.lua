-- Lines: waiting jobs of one queue, client and task; which of them gives the next job. Follows common.lua.
--
-- The choice is that of core/fairness.py, to the letter: the band of a line's first job, then the tag of its
-- client, then rank and id. A client or a task is known by eight bytes of its name's digest.
--
--   lines:Q   zset  lines of queue Q that have suffixes and are not empty, by the rank of their first job
--   limits    hash  t and a task, c and a client: how many of its jobs may run; w, W and a client: its weight as it
--             was submitted last, and as an operator wants it
--   running   hash  the same t and c: how many of its jobs run
--   blocked   set   queues in which jobs wait only because of a limit
--   served:C  hash  the tags of those whom the workers of the queues C (a digest) serve: band and client -> tag
local NOBODY = string.rep('\0', 8)
local MOST_LINES, MOST_LOOKED_AT, AGE_STEP = 64, 1024, 60000
local STRIDE = 5040
local FORGET_S, MOST_TAGS, HIGHEST_TAG = 86400, 1000, 2 ^ 52

local function client_of(line) return named(line) and string.sub(line, -16, -9) or NOBODY end
local function task_of(line) return named(line) and string.sub(line, -8) or NOBODY end

local function unblock()
  for _, queue in ipairs(redis.call('SMEMBERS', key('blocked'))) do ring(queue) end
  redis.call('DEL', key('blocked'))
end

-- What common's finish() has to do for a line with a suffix whose counts changed.
local changed, freed = {}, false
local function change_running(line, change)
  local client, task = 'c' .. client_of(line), 't' .. task_of(line)
  changed[client] = (changed[client] or 0) + change
  changed[task] = (changed[task] or 0) + change
  freed = freed or change < 0
end
local function note_line(line, counted)
  local head = redis.call('ZRANGE', key('queue:' .. line), 0, 0, 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', key('lines:' .. queue_of(line)), head[2], line)
  else
    redis.call('ZREM', key('lines:' .. queue_of(line)), line)
  end
  if counted[RUNNING] ~= 0 then change_running(line, counted[RUNNING]) end
end
local function note_running()
  for field, change in pairs(changed) do
    if change ~= 0 and string.sub(field, 2) ~= NOBODY and redis.call('HINCRBY', key('running'), field, change) <= 0 then
      redis.call('HDEL', key('running'), field)
    end
  end
  if freed then unblock() end
  changed, freed = {}, false
end

-- What a submission says of its client and its task, which holds for their other jobs, too.
local learnt = {}
local function learn(line, weight, most)
  if client_of(line) ~= NOBODY then learnt['w' .. client_of(line)] = weight end
  if task_of(line) ~= NOBODY then learnt['t' .. task_of(line)] = most end
end
local function keep_learnt()
  if not next(learnt) then return end
  for field, value in pairs(learnt) do
    if string.sub(field, 1, 1) == 'w' and value == 1 then
      redis.call('HDEL', key('limits'), field)
    else
      redis.call('HSET', key('limits'), field, value)
    end
  end
  unblock()
end

local limited
local function limit_of(field)
  if limited == nil then limited = redis.call('EXISTS', key('limits')) == 1 end
  return limited and tonumber(redis.call('HGET', key('limits'), field) or nil)
end
local rooms = {}
local function room_of(field)
  if string.sub(field, 2) == NOBODY then return math.huge end
  if not rooms[field] then
    local most = limit_of(field)
    rooms[field] = most and most - tonumber(redis.call('HGET', key('running'), field) or 0) or math.huge
  end
  return rooms[field]
end
local function room(line)
  if not named(line) then return math.huge end
  return math.min(room_of('c' .. client_of(line)), room_of('t' .. task_of(line)))
end

-- The lines among which to choose, and the queues that have more of them.
local function candidates(open)
  local found, capped = {}, {}
  for _, queue in ipairs(open) do
    if redis.call('EXISTS', key('queue:' .. queue)) == 1 then found[#found + 1] = queue end
    local most, at = #found + MOST_LINES, 0
    repeat
      local page = redis.call('ZRANGE', key('lines:' .. queue), at, at + MOST_LINES - 1)
      for _, line in ipairs(page) do
        if #found >= most then
          capped[queue] = true
        elseif room(line) > 0 then
          found[#found + 1] = line
        end
      end
      at = at + MOST_LINES
      if #page == MOST_LINES and #found >= most then capped[queue] = true end
    until #page < MOST_LINES or #found >= most or at >= MOST_LOOKED_AT
  end
  return found, capped
end

local function band_of(rank) return math.max(0, math.ceil((rank - now) / AGE_STEP)) end

-- The tags of a crew, read as they are asked for and written at the end.
local tags, moved, crew
local function tag(field)
  if not tags[field] then tags[field] = tonumber(redis.call('HGET', crew, field) or 0) end
  return tags[field]
end
local function tag_of(band, client) return math.max(tag(band .. client), tag(band .. '')) end
local function move(field, value) tags[field], moved[field] = value, value end
local function stride(client)
  local weight = client ~= NOBODY and (limit_of('W' .. client) or limit_of('w' .. client)) or 1
  return math.max(1, math.floor(STRIDE / math.max(1, weight)))
end
-- A tag that is behind its band's says no more than none at all.
local function drop_old_tags()
  local kept = redis.call('HGETALL', crew)
  for i = 1, #kept, 2 do
    local band = string.sub(kept[i], 1, -9)
    if band ~= '' and tonumber(kept[i + 1]) <= tag(band) then redis.call('HDEL', crew, kept[i]) end
  end
end
local function keep_tags()
  local highest = 0
  for field, value in pairs(moved) do
    highest = math.max(highest, value)
    redis.call('HSET', crew, field, string.format('%.0f', value))
  end
  if highest > HIGHEST_TAG then redis.call('DEL', crew) end
  local size = redis.call('HLEN', crew)
  if size > MOST_TAGS and size % 64 == 0 then drop_old_tags() end
  redis.call('EXPIRE', crew, FORGET_S)
end

local PAGE = 16
local function fill(contender)
  contender.jobs = redis.call('ZRANGE', contender.name, contender.from, contender.from + PAGE - 1, 'WITHSCORES')
  contender.from, contender.at = contender.from + PAGE, 1
end
local function head(contender)
  if contender.at > #contender.jobs and #contender.jobs == 2 * PAGE then fill(contender) end
  local id = contender.jobs[contender.at]
  if id then return tonumber(contender.jobs[contender.at + 1]), id end
end

-- Ids of the best jobs of several lines.
local function choose(found, limit, queues)
  local contenders, shared = {}, false
  for i, line in ipairs(found) do
    local contender = { line = line, client = client_of(line), name = key('queue:' .. line), from = 0 }
    contender.by_client, contender.by_task = 'c' .. contender.client, 't' .. task_of(line)
    rooms[contender.by_client] = room_of(contender.by_client)
    rooms[contender.by_task] = room_of(contender.by_task)
    fill(contender)
    contenders[i] = contender
    shared = shared or contender.client ~= contenders[1].client
  end
  table.sort(queues)
  tags, moved, crew = {}, {}, key('served:' .. redis.sha1hex(table.concat(queues, ',')))
  local taken = {}
  while #taken < limit do
    local best, best_band, best_tag, best_rank, best_id
    for _, one in ipairs(contenders) do
      local rank, id = head(one)
      if rank and rooms[one.by_client] > 0 and rooms[one.by_task] > 0 then
        local band = band_of(rank)
        local tag = shared and tag_of(band, one.client) or 0
        if not best or band < best_band or (band == best_band and (tag < best_tag or (tag == best_tag and
          (rank < best_rank or (rank == best_rank and id < best_id))))) then
          best, best_band, best_tag, best_rank, best_id = one, band, tag, rank, id
        end
      end
    end
    if not best then break end
    best.at = best.at + 2
    rooms[best.by_client] = rooms[best.by_client] - 1
    rooms[best.by_task] = rooms[best.by_task] - 1
    if shared then
      move(best_band .. '', best_tag)
      move(best_band .. best.client, best_tag + stride(best.client))
    end
    collect('ZREM', 'queue:' .. best.line, best_id)
    taken[#taken + 1] = best_id
  end
  if shared then keep_tags() end
  return taken
end

return { NOBODY = NOBODY, MOST_LINES = MOST_LINES, MOST_LOOKED_AT = MOST_LOOKED_AT, AGE_STEP = AGE_STEP, client_of = client_of,
  band_of = band_of, stride = stride, unblock = unblock, note_line = note_line, note_running = note_running,
  change_running = change_running, learn = learn, keep_learnt = keep_learnt, room = room, candidates = candidates, choose = choose }
