-- Stores each verdict whose token is the job's current one.
-- ARGV[3]  the settlements, see HEAD
-- then the result of each, or nothing; then for those with an error, five each: position, error, its event,
-- and both again for a job that was cancelled meanwhile
-- Answer: clock, a string with 1 for each that was accepted and 0 for each that was not.
-- HEAD: id, token, and twice (as it is, and if it was cancelled): state, attempt, losses, delay in ms.
local HEAD, SIZE = '<c16I8BI2I2I8BI2I2I8', 50
local KINDS = { [0] = 's', 'q', 'r', 'k', 'f', 'c' }
local heads = ARGV[OWN]
go_even_without_memory()

local total = #heads / SIZE
local troubles = {}
for at = OWN + total + 1, #ARGV, 5 do troubles[tonumber(ARGV[at])] = at end
local ids = {}
for i = 1, total do ids[i] = string.sub(heads, (i - 1) * SIZE + 1, (i - 1) * SIZE + 16) end
local records = each('HMGET', 'jobs', ids)
local settled, accepted = {}, {}
for i = 1, total do
  local id, token, state, attempt, losses, delay, c_state, c_attempt, c_losses, c_delay =
    struct.unpack(HEAD, heads, (i - 1) * SIZE + 1)
  local job = records[i] and not settled[id] and unpack_record(records[i])
  if not job or job.state ~= RUNNING or job.token ~= token then
    accepted[i] = '0'
  else
    accepted[i] = '1'
    settled[id] = true
    local trouble = troubles[i]
    if job.flags % 2 == STOP then
      state, attempt, losses, delay = c_state, c_attempt, c_losses, c_delay
      if trouble then trouble = trouble + 2 end
      collect('SREM', 'stopping', token_field(token))
    end
    count(RUNNING, job.queue, -1)
    count(state, job.queue, 1)
    collect('HDEL', 'held:' .. job.worker, token_field(token))
    job.state, job.attempt, job.losses, job.token = state, attempt, losses, 0
    if state == SCHEDULED then
      job.due = now + delay
      schedule(job.queue, job.due, id)
    elseif state == QUEUED then
      enqueue(job.queue, job.due + job.head, id)
    else
      job.finished = now
      place('done', now, id)
      if state ~= SUCCEEDED then place('ended_badly', 0, id) end
    end
    local result, failure, tale = ARGV[OWN + i], '', ''
    if trouble then failure, tale = ARGV[trouble + 1], ARGV[trouble + 2] end
    if state == SUCCEEDED and result ~= '' then put('results', id, result) end
    if failure ~= '' then put('errors', id, failure) end
    put('jobs', id, pack(job))
    tell(KINDS[state], id, tale)
  end
end
finish()
return { clock, table.concat(accepted) }
