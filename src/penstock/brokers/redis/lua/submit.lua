-- Keeps jobs.
-- ARGV[3]  ids, 16 bytes each
-- ARGV[4]  delays in ms, 8 bytes each, or nothing if there are none
-- ARGV[5]  idempotency keys, 16 bytes each, all zero for none, or nothing if there are none
-- ARGV[6…] fixed parts, with the stamp but for the time
-- Answer: clock, now, positions (from 1) of the jobs that were known before, their ids, those jobs (see read).
local ids, delays = ids_of(ARGV[OWN]), ARGV[OWN + 1]
-- Keeping nothing asks whether a job could be kept: this writes nothing, but is refused like any write.
if #ids == 0 then redis.call('SETRANGE', key('nothing'), 0, '') end
local keys = ids_of(ARGV[OWN + 2])
local NO_KEY = string.rep('\0', 16)
local known, owners = each('HMGET', 'specs', ids), each('HMGET', 'keys', keys)

local fresh, taken_now, spans, positions, repeated = {}, {}, {}, {}, {}
for i, id in ipairs(ids) do
  local idempotency = keys[i]
  if idempotency == NO_KEY then idempotency = nil end
  local taken = idempotency and (owners[i] or taken_now[idempotency])
  if not taken and (known[i] or fresh[id]) then taken = id end
  if taken then
    positions[#positions + 1] = i
    repeated[#repeated + 1] = taken
  else
    fresh[id] = true
    local fixed, delay = ARGV[OWN + 2 + i], 0
    local head, length, at = struct.unpack('<I3B', fixed)
    local queue = queue_at(fixed, at, length)
    if named_at(fixed, at, length) then learn(queue, struct.unpack('<I2I2', fixed, at + length - TERMS)) end
    if delays ~= '' then delay = struct.unpack('<I8', delays, i * 8 - 7) end
    put('specs', id, struct.pack('<I6', now) .. fixed)
    if idempotency then
      taken_now[idempotency] = id
      put('keys', idempotency, id)
      put('key_of', id, idempotency)
    end
    if delay == 0 then
      enqueue(queue, now + head, id)
      count(QUEUED, queue, 1)
      tell('q', id, '')
    else
      put('jobs', id, pack({ state = SCHEDULED, flags = 0, attempt = 0, losses = 0, crashes = 0, handbacks = 0, head = head,
        due = now + delay, token = 0, started = 0, finished = 0, queue = queue, worker = '' }))
      schedule(queue, now + delay, id)
      count(SCHEDULED, queue, 1)
      tell('s', id, '')
    end
    local span = string.sub(id, 1, 5)
    spans[span] = true
    collect('RPUSH', 'ids:' .. span, id)
  end
end
for span in pairs(spans) do place('spans', 0, span) end
finish()
keep_learnt()
return { clock, now, positions, table.concat(repeated), read(repeated, true) }
