-- Ids of all parts that a job ever had in its present run. ARGV[3]: the job's id. Answer: clock, ids.
local packed = redis.call('HGET', key('families'), ARGV[OWN])
if not packed then return { clock, '' } end
local family = part('family')
return { clock, redis.call('GET', key(family.run_key('parts', family.read_family(packed).run))) or '' }
