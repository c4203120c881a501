-- Fails jobs in parts whose time is up, then takes over jobs of workers whose lease has lapsed.
-- ARGV[3…]: worker, limit, lease in ms, jitter.
-- Answer: clock, first token, ids, fixed parts, attempts, losses, crashes and hand-backs (see claim), workers that lost them,
-- when those had begun.
local worker, limit, lease, jitter = ARGV[OWN], tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2]), tonumber(ARGV[OWN + 3])
go_even_without_memory()

-- Fails up to so many jobs in parts whose time is up, wherever they are, and begins to withdraw their parts.
local function fail_overdue()
  local late = redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf', now, 'LIMIT', 0, limit)
  if #late == 0 then return end
  local family = part('family')
  local found, records, timeouts = family.families_of(late), each('HMGET', 'jobs', late), each('HMGET', 'timeouts', late)
  for i, id in ipairs(late) do
    local one, job = found[id], records[i] and unpack_record(records[i])
    family.drop_deadline(id)
    if one and job and job.state < SUCCEEDED then
      local of = one.known == 1 and string.format(' of %.0f', one.total) or ''
      family.fail_whole(id, job, 'TIMED_OUT', string.format('took longer than %s in all; %.0f', timeouts[i], one.done) .. of ..
        ' parts were done', '')
    end
  end
  finish()
  start_over()
  family.withdraw(family.PAGE)
end

hold_lease(worker, now + lease)
fail_overdue()
local ids, fields, losers, begun = {}, {}, {}, {}
local empty = {}
for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', '(' .. now)) do
  local held = redis.call('HGETALL', key('held:' .. lapsed))
  for i = 1, #held, 2 do
    if #ids >= limit then break end
    ids[#ids + 1], fields[#fields + 1], losers[#losers + 1] = held[i + 1], held[i], lapsed
  end
end
local specs, records = each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids)
local first = new_tokens(#ids, jitter)
local charged = {}
for i, id in ipairs(ids) do
  local job = unpack_record(records[i])
  local token = first + i - 1
  collect('HDEL', 'held:' .. losers[i], fields[i])
  put('held:' .. worker, token_field(token), id)
  if job.flags % 2 == STOP then
    collect('SREM', 'stopping', fields[i])
    collect('SADD', 'stopping', token_field(token))
  end
  begun[i] = job.started
  job.token, job.worker = token, worker
  if not was_split(job.flags) then job.started = now end
  put('jobs', id, pack(job))
  charged[i] = struct.pack('<I2BBB', job.attempt, job.losses, job.crashes, job.handbacks)
end
finish()
for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', '(' .. now)) do
  if redis.call('EXISTS', key('held:' .. lapsed)) == 0 then
    redis.call('ZREM', key('leases'), lapsed)
    redis.call('HDEL', key('info'), lapsed)
    redis.call('HDEL', key('seen'), lapsed)
  end
end
return { clock, first, table.concat(ids), specs, table.concat(charged), losers, begun }
