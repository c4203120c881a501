-- Puts a document in the place of another one and keeps jobs, or does neither; neither also if a job is refused.
-- ARGV[3]  shelf     ARGV[4] name
-- ARGV[5]  not before this time in ms
-- ARGV[6]  the document that must be there, nothing for none     ARGV[7]  the new one, nothing for none
-- ARGV[8…] see submit, which goes on from here
-- Answer: clock alone if the document is another one or it is too early; else that of submit.
do
  local shelf, name = 'shelf:' .. ARGV[OWN], ARGV[OWN + 1]
  if now < tonumber(ARGV[OWN + 2]) or (redis.call('HGET', key(shelf), name) or '') ~= ARGV[OWN + 3] then return { clock } end
  if ARGV[OWN + 4] == '' then
    collect('HDEL', shelf, name)
  else
    put(shelf, name, ARGV[OWN + 4])
  end
end
all_or_none = true
OWN = OWN + 5
