-- Counts one request if it fits. ARGV[3…]: name, how many fit, into which window in ms.
-- Answer: clock, 0 or the ms until one more fits.
-- The key taken:NAME is a list of the times of those counted, newest first, gone when the last is too old.
local name, most, window = key('taken:' .. ARGV[OWN]), tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2])
local oldest = tonumber(redis.call('LINDEX', name, most - 1) or 0)
local wait = oldest + window - now
-- A clock that was set back must not lock anybody out for longer than a window.
if wait > 0 and wait <= window then return { clock, wait } end
redis.call('LPUSH', name, now)
redis.call('LTRIM', name, 0, most - 1)
redis.call('PEXPIRE', name, window)
return { clock, 0 }
