-- Results of parts. ARGV[3…]: the job's id, number of the first part, how many. Answer: clock, results.
local packed = redis.call('HGET', key('families'), ARGV[OWN])
if not packed then return { clock, {} } end
local first, count = tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2])
local family = part('family')
local name = key(family.run_key('parts', family.read_family(packed).run))
return { clock, each('HMGET', 'results', ids_of(redis.call('GETRANGE', name, first * 16, (first + count) * 16 - 1))) }
