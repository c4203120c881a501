-- Cancels jobs: waiting ones end at once, running ones are marked. ARGV[3…]: ids, error, event's data.
-- Answer: see read.
local ids, failure, tale = ids_of(ARGV[OWN]), ARGV[OWN + 1], ARGV[OWN + 2]
go_even_without_memory()
local specs, records = each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids)
local seen = {}
for i, id in ipairs(ids) do
  local job = not seen[id] and job_of(records[i], specs[i])
  seen[id] = true
  if job and job.state == RUNNING and job.token > 0 then
    if job.flags % 2 ~= STOP then job.flags = job.flags + STOP end
    put('jobs', id, pack(job))
    collect('SADD', 'stopping', token_field(job.token))
  elseif job and job.state <= RUNNING then -- one that runs without a token waits for its parts
    leave_line(id, job)
    count(job.state, job.queue, -1)
    count(CANCELLED, job.queue, 1)
    job.state, job.finished = CANCELLED, now
    if job.flags % 2 ~= STOP then job.flags = job.flags + STOP end
    put('jobs', id, pack(job))
    put('errors', id, failure)
    done(id, CANCELLED)
    place('ended_badly', 0, id)
    tell('c', id, tale)
  end
end
finish()
return read(ids, true)
