-- A worker leaves; what it still holds can be reclaimed at once. ARGV[3]: worker. Answer: clock.
local worker = ARGV[OWN]
go_even_without_memory()
redis.call('HDEL', key('info'), worker)
redis.call('HDEL', key('seen'), worker)
if redis.call('EXISTS', key('held:' .. worker)) == 1 then
  hold_lease(worker, 0)
else
  redis.call('ZREM', key('leases'), worker)
end
return { clock }
