-- Forgets those of the jobs that are final. ARGV[3]: ids.
-- Answer: clock, a string with 1 for each that is gone and 0 for each that is not.
local asked = ids_of(ARGV[OWN])
go_even_without_memory()
local records = each('HMGET', 'jobs', asked)
local parts = there('part_of') and part('family').parts_among(asked) or {} -- they go with their job
local ids, jobs, seen, answer = {}, {}, {}, {}
for i, id in ipairs(asked) do
  local job = records[i] and not seen[id] and unpack_record(records[i])
  answer[i] = '0'
  if job and job.state >= SUCCEEDED and not parts[id] then
    seen[id] = true
    ids[#ids + 1], jobs[#jobs + 1], answer[i] = id, job, '1'
  end
end
local gone, spans = part('forgetting').forget(ids, jobs)
part('family').drop_families(ids)
finish()
part('forgetting').forget_ids(gone, spans)
return { clock, table.concat(answer) }
