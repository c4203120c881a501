-- Every document of a shelf. ARGV[3]: shelf. Answer: clock, names and bodies.
return { clock, redis.call('HGETALL', key('shelf:' .. ARGV[OWN])) }
