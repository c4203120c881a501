-- Empties a mailbox. ARGV[3]: mailbox. Answer: clock, ids of the jobs that have ended, those jobs (see read).
local name = key('mail:' .. ARGV[OWN])
local ids = redis.call('SMEMBERS', name)
redis.call('DEL', name)
return { clock, table.concat(ids), read(ids, true) }
