-- Cancels jobs: waiting ones end at once, running ones are marked, those with several waiters lose one.
-- ARGV[3…]: ids, error, event's data, 1 to cancel whoever waits.
-- Answer: see read.
local ids, failure, tale, force = ids_of(ARGV[OWN]), ARGV[OWN + 1], ARGV[OWN + 2], ARGV[OWN + 3] == '1'
go_even_without_memory()
local specs, records = each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids)
local shares, seen = shares_of(ids), {}

local function leaves(i, id)
  if force or not shares[i] then return false end
  local print, keep, waiters = struct.unpack(SHARE, shares[i])
  if waiters == 1 then return false end
  put('shared', id, struct.pack(SHARE, print, keep, waiters - 1))
  return true
end

for i, id in ipairs(ids) do
  local job = not seen[id] and job_of(records[i], specs[i])
  seen[id] = true
  if not job or job.state > RUNNING or job.flags % 2 == STOP or leaves(i, id) then
    -- Unknown, over, being stopped already, or wanted by others.
  elseif job.state == RUNNING and job.token > 0 then
    job.flags = job.flags + STOP
    put('jobs', id, pack(job))
    collect('SADD', 'stopping', token_field(job.token))
  else -- one that runs without a token waits for its parts
    job.flags = job.flags + STOP
    end_unsettled(id, job, CANCELLED, failure, tale)
  end
end
finish()
return read(ids, true)
