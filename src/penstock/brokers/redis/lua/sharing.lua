-- What becomes of shared answers when jobs end or are forgotten; see SHARE and ANSWER in common.lua.
-- Of the jobs that share, and whose fingerprint names them in this hash: what that says, by their place in ids.
local function named_in(name, ids, shares)
  local prints, places, found = {}, {}, {}
  for i, share in ipairs(shares) do
    if share then prints[#prints + 1], places[#places + 1] = string.sub(share, 1, 32), i end
  end
  for n, named in ipairs(each('HMGET', name, prints)) do
    if named and string.sub(named, 1, 16) == ids[places[n]] then found[places[n]] = named end
  end
  return found
end
-- Only the job in flight leaves its answer: an older one would undo a refresh, or a removal of answers.
local function keep_answers()
  local shares = shares_of(ended)
  local flying = named_in('flights', ended, shares)
  for i, share in ipairs(shares) do
    if share then
      local print, keep = struct.unpack(SHARE, share)
      if flying[i] then
        collect('HDEL', 'flights', print)
        if ended_as[i] == SUCCEEDED then
          put('answers', print, struct.pack(ANSWER, ended[i], now + keep))
          place('stale', now + keep, print)
        end
      end
      redis.call('DEL', key('joins:' .. ended[i])) -- also if all who joined have left
    end
  end
end
local function forget_shares(ids)
  local shares = shares_of(ids)
  local kept = named_in('answers', ids, shares)
  for i, share in ipairs(shares) do
    if share then collect('HDEL', 'shared', ids[i]) end
    if kept[i] then
      collect('HDEL', 'answers', string.sub(share, 1, 32))
      collect('ZREM', 'stale', string.sub(share, 1, 32))
    end
  end
end

return { keep_answers = keep_answers, forget_shares = forget_shares }
