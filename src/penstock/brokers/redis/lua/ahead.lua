-- What waiting jobs have in front of them, for core/forecast.py. ARGV[3]: ids.
-- Answer: clock, and of each job that waits, false for any other: its client, its client's stride, and of each line
-- of its queue: client, stride, more urgent jobs, jobs as urgent as it (of its own client older ones), tasks of the first.
local SAMPLE = 16
local lines_part = part('lines')
local MOST_LINES, AGE_STEP, client_of, band_of, stride =
  lines_part.MOST_LINES, lines_part.AGE_STEP, lines_part.client_of, lines_part.band_of, lines_part.stride

-- The task's name is the first field of the fixed part, after the head of a list.
local function task_of_spec(spec)
  if not spec then return '' end
  local _, _, length, at = struct.unpack(STAMP, spec)
  at = at + length
  at = at + (string.byte(spec, at) == 0xdc and 3 or 1)
  local head = string.byte(spec, at)
  if head == 0xd9 then return string.sub(spec, at + 2, at + 1 + string.byte(spec, at + 1)) end
  return string.sub(spec, at + 1, at + head - 0xa0)
end
local function first_tasks(line, most)
  if most < 1 then return {} end
  local specs = each('HMGET', 'specs', redis.call('ZRANGE', key('queue:' .. line), 0, math.min(SAMPLE, most) - 1))
  for i = 1, #specs do specs[i] = task_of_spec(specs[i]) end
  return specs
end

local function lines_of(queue, own)
  local lines = redis.call('ZRANGE', key('lines:' .. queue), 0, MOST_LINES - 1)
  local plain, mine = key('queue:' .. queue), own == queue
  for _, line in ipairs(lines) do mine = mine or line == own end
  lines[#lines + 1] = queue
  if not mine then lines[#lines + 1] = own end
  return lines
end

local function up_to(line, bound) return redis.call('ZCOUNT', key('queue:' .. line), '-inf', bound) end
local function look(id, line)
  local rank = tonumber(redis.call('ZSCORE', key('queue:' .. line), id) or nil)
  if not rank then return false end
  local band, client = band_of(rank), client_of(line)
  local answer = { client, stride(client) }
  for _, other in ipairs(lines_of(queue_of(line), line)) do
    local before, all = 0
    if band > 0 then before = up_to(other, now + (band - 1) * AGE_STEP) end
    if other == line then
      all = redis.call('ZRANK', key('queue:' .. line), id)
    elseif client_of(other) == client then
      all = up_to(other, '(' .. rank)
    else
      all = up_to(other, now + band * AGE_STEP)
    end
    for _, part in ipairs({ client_of(other), stride(client_of(other)), before, all - before }) do
      answer[#answer + 1] = part
    end
    answer[#answer + 1] = first_tasks(other, all)
  end
  return answer
end

local ids, found = ids_of(ARGV[OWN]), {}
local specs, records = each('HMGET', 'specs', ids), each('HMGET', 'jobs', ids)
for i, id in ipairs(ids) do
  local job = job_of(records[i], specs[i])
  found[i] = job and job.state == QUEUED and look(id, job.queue) or false
end
return { clock, found }
