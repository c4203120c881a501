-- Gives out no answer that was found or looked for before. ARGV[3…]: fingerprints, 32 bytes each; all of them if there is
-- none. Answer: clock, how many answers could have been given.
local counted
if ARGV[OWN] then
  local prints = {}
  for at = 1, #ARGV[OWN], 32 do prints[#prints + 1] = string.sub(ARGV[OWN], at, at + 31) end
  counted = 0
  for _, answer in ipairs(each('HMGET', 'answers', prints)) do
    if answer and select(2, struct.unpack(ANSWER, answer)) > now then counted = counted + 1 end
  end
  for _, name in ipairs({ 'answers', 'flights' }) do each('HDEL', name, prints) end
  each('ZREM', 'stale', prints)
else
  counted = redis.call('ZCOUNT', key('stale'), '(' .. string.format('%.0f', now), '+inf')
  redis.call('UNLINK', key('answers'), key('flights'), key('stale'))
end
return { clock, counted }
