-- What jobs remember of their attempts. ARGV[3]: ids. Answer: jobs (see read), and of each what settle keeps.
local ids = ids_of(ARGV[OWN])
return { clock, read(ids, false), each('HMGET', 'attempts', ids) }
