-- Queues failed and cancelled jobs anew, with all their attempts. ARGV[3]: ids. Answer: see read.
local ids = ids_of(ARGV[OWN])
local records = each('HMGET', 'jobs', ids)
local shares, seen, anew = shares_of(ids), {}, {}
local parts = there('part_of') and part('family').parts_among(ids) or {}
local landed = {} -- fingerprints of which no job is in flight

-- One waits for it, whoever asked before; and others may, unless they wait for another one already.
local function share_again(i, id)
  local print, keep = struct.unpack(SHARE, shares[i])
  put('shared', id, struct.pack(SHARE, print, keep, 1))
  if landed[print] == nil then landed[print] = not redis.call('HGET', key('flights'), print) end
  if landed[print] then put('flights', print, id) end
  landed[print] = false
end

for i, id in ipairs(ids) do
  local job = records[i] and not seen[id] and not parts[id] and unpack_record(records[i])
  seen[id] = true
  if job and (job.state == FAILED or job.state == CANCELLED) then
    anew[#anew + 1] = id
    count(job.state, job.queue, -1)
    count(QUEUED, job.queue, 1)
    job.state, job.attempt, job.losses, job.crashes, job.handbacks, job.due, job.flags = QUEUED, 0, 0, 0, 0, now, 0
    job.worker, job.started, job.finished = '', 0, 0
    put('jobs', id, pack(job))
    enqueue(job.queue, now + job.head, id)
    if shares[i] then share_again(i, id) end
    collect('HDEL', 'errors', id)
    collect('HDEL', 'progress', id)
    collect('ZREM', 'ended_badly', id)
    tell('q', id, '')
  end
end
part('family').drop_families(anew)
finish()
return read(ids, true)
