-- Keeps a document, or removes it if there is no body. ARGV[3…]: shelf, name, body. Answer: clock.
if ARGV[OWN + 2] then
  redis.call('HSET', key('shelf:' .. ARGV[OWN]), ARGV[OWN + 1], ARGV[OWN + 2])
else
  redis.call('HDEL', key('shelf:' .. ARGV[OWN]), ARGV[OWN + 1])
end
return { clock }
