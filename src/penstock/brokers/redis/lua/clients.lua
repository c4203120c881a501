-- The clients with the most waiting jobs of each queue. ARGV[3]: how many of a queue.
-- Answer: clock, and of each its queue, the fixed part of one of its jobs, and how many wait.
local most, answer, seen = tonumber(ARGV[OWN]), {}, {}
local lines_part = part('lines')
local MOST_LOOKED_AT, NOBODY, client_of = lines_part.MOST_LOOKED_AT, lines_part.NOBODY, lines_part.client_of
local function waiting_of(queue)
  local by_client, clients = {}, {}
  for _, line in ipairs(redis.call('ZRANGE', key('lines:' .. queue), 0, MOST_LOOKED_AT - 1)) do
    local client = client_of(line)
    if client ~= NOBODY then
      if not by_client[client] then
        by_client[client] = { client = client, line = line, jobs = 0 }
        clients[#clients + 1] = by_client[client]
      end
      by_client[client].jobs = by_client[client].jobs + redis.call('ZCARD', key('queue:' .. line))
    end
  end
  table.sort(clients, function(a, b) return a.jobs > b.jobs or (a.jobs == b.jobs and a.client < b.client) end)
  return clients
end
for _, field in ipairs(redis.call('HKEYS', key('depths'))) do
  local queue = string.sub(field, 2)
  local clients = not seen[queue] and waiting_of(queue) or {}
  seen[queue] = true
  for i = 1, math.min(most, #clients) do
    local id = redis.call('ZRANGE', key('queue:' .. clients[i].line), 0, 0)[1]
    local spec = id and redis.call('HGET', key('specs'), id)
    if spec then
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = queue, spec, clients[i].jobs
    end
  end
end
return { clock, answer }
