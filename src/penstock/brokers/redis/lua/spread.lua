-- Keeps parts of a job and queues them. ARGV[3…]: the job's id, its token, number of the first part, how many are merged
-- at a time, 1 if failed ones are left out, how long the job may take in all in ms (0 for any time) and for people, ids,
-- and of each its fixed part as in submit.
-- Answer: clock, 1 if the token holds, else 0; how many parts there were.
local family = part('family')
local parent, token, first, ids = ARGV[OWN], tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2]), ids_of(ARGV[OWN + 7])
local record = redis.call('HGET', key('jobs'), parent)
local job = record and unpack_record(record)
if not job or job.state ~= RUNNING or job.token ~= token or token == 0 then return { clock, 0, 0 } end
local packed = redis.call('HGET', key('families'), parent)
local one = packed and family.read_family(packed) or { run = token, total = 0, done = 0, failed = 0, merged = 0, ready = 0,
  block = math.max(1, tonumber(ARGV[OWN + 3])), known = 0, skip = tonumber(ARGV[OWN + 4]), over = 0 }
local before = one.total
if first > before then return { clock, 1, before } end
local timeout = tonumber(ARGV[OWN + 5])
if not packed and timeout > 0 then
  place('deadlines', job.started + timeout, parent)
  put('timeouts', parent, ARGV[OWN + 6])
end
local fresh = {}
for i = before - first + 1, #ids do
  local id, fixed = ids[i], ARGV[OWN + 7 + i]
  local head, length, at = struct.unpack('<I3B', fixed)
  local queue = queue_at(fixed, at, length)
  put('specs', id, struct.pack('<I6', now) .. fixed)
  put('part_of', id, struct.pack(family.NUMBER, one.total) .. struct.pack(family.RUN, one.run) .. parent)
  enqueue(queue, now + head, id)
  count(QUEUED, queue, 1)
  tell('q', id, '{"part":' .. one.total .. '}')
  fresh[#fresh + 1] = id
  one.total = one.total + 1
end
if #fresh > 0 then redis.call('APPEND', key(family.run_key('parts', one.run)), table.concat(fresh)) end
put('families', parent, family.pack_family(one))
finish()
return { clock, 1, before }
