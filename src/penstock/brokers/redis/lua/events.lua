-- Entries of the feed. ARGV[3…]: id of the entry to begin with, how many events are wanted at least.
-- Answer: clock, entries, events of the oldest entry that are gone, that entry's id, the last id given out.
-- An entry may hold thousands of events, so that entries are taken a few at a time. The one to begin with does
-- not count, as the caller may have all of it.
local found, events, wanted, from, few = {}, 0, tonumber(ARGV[OWN + 1]), ARGV[OWN], 16
repeat
  local some = redis.call('XRANGE', key('events'), from, '+', 'COUNT', few)
  for _, entry in ipairs(some) do
    found[#found + 1] = entry
    if entry[1] ~= ARGV[OWN] then events = events + #entry[2][4] / 16 end
    from = '(' .. entry[1]
    if events >= wanted then break end
  end
until events >= wanted or #some < few
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
