-- Makes a namespace ready. ARGV[3]: schema that this version knows.
-- Answer: clock, the schema that is there.
local found = tonumber(redis.call('HGET', key('meta'), 'schema') or 0)
if found == 0 then
  found = tonumber(ARGV[OWN])
  redis.call('HSET', key('meta'), 'schema', found)
end
return { clock, found }
