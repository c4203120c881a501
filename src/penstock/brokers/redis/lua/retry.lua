-- Queues failed and cancelled jobs anew, with all their attempts. ARGV[3]: ids. Answer: see read.
local ids = ids_of(ARGV[OWN])
local records = each('HMGET', 'jobs', ids)
local seen, anew = {}, {}
local parts = any_family() and parts_among(ids) or {}
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
    collect('HDEL', 'errors', id)
    collect('HDEL', 'progress', id)
    collect('ZREM', 'ended_badly', id)
    tell('q', id, '')
  end
end
drop_families(anew)
finish()
return read(ids, true)
