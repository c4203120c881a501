-- Entries of the feed. ARGV[3…]: id of the entry to begin with, how many entries.
-- Answer: clock, entries, events of the oldest entry that are gone, that entry's id, the last id given out.
local found = redis.call('XRANGE', key('events'), ARGV[OWN], '+', 'COUNT', ARGV[OWN + 1])
local last = '0-0'
if redis.call('EXISTS', key('events')) == 1 then
  local about = redis.call('XINFO', 'STREAM', key('events'))
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then last = about[i + 1] end
  end
end
local skip, oldest = redis.call('HGET', key('meta'), 'skip') or '0', ''
if skip ~= '0' then oldest = redis.call('XRANGE', key('events'), '-', '+', 'COUNT', 1)[1][1] end
return { clock, found, tonumber(skip), oldest, last }
