-- Gives out no more jobs of a queue. ARGV[3]: queue. Answer: clock.
redis.call('SADD', key('paused'), ARGV[OWN])
return { clock }
