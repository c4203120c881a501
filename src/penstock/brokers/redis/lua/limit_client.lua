-- Keeps what a client is allowed. ARGV[3…]: its name, its digest, how many of its jobs may run and its weight, each of
-- these two or nothing, the document that says the same, or nothing to forget it. Answer: clock.
local name, client, most, weight, body = unpack(ARGV, OWN, OWN + 4)
for field, value in pairs({ ['c' .. client] = most, ['W' .. client] = weight }) do
  if value == '' then
    redis.call('HDEL', key('limits'), field)
  else
    redis.call('HSET', key('limits'), field, value)
  end
end
if body == '' then
  redis.call('HDEL', key('shelf:clients'), name)
else
  redis.call('HSET', key('shelf:clients'), name, body)
end
part('lines').unblock()
return { clock }
