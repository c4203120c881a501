-- Gives out jobs of a queue again. ARGV[3]: queue. Answer: clock.
redis.call('SREM', key('paused'), ARGV[OWN])
ring(ARGV[OWN])
return { clock }
