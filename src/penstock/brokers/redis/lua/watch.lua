-- Has a mailbox told when jobs end. ARGV[3…]: mailbox, ids. Answer: see read.
local box, ids = ARGV[OWN], ids_of(ARGV[OWN + 1])
go_even_without_memory()
local answer = read(ids, true)
local specs, records, boxes = answer[2], answer[3], each('HMGET', 'waiters', ids)
for i, id in ipairs(ids) do
  local job = job_of(records[i], specs[i])
  local told = boxes[i] or ''
  if job and job.state < SUCCEEDED and not string.find(told, box, 1, true) then put('waiters', id, told .. box) end
end
finish()
return answer
