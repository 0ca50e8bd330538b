-- policy/src/limits.rs, `hold` and `renew`, in Redis.
-- KEYS: counters. ARGV: now in microseconds, session, end of the lease in microseconds, '1' to renew without asking, length of
-- the lease in milliseconds, then for each counter how many sessions there may be.
-- Gives 0 or the place of the first full counter.
local now, session, ends = ARGV[1], ARGV[2], ARGV[3]
if ARGV[4] ~= '1' then
    for i = 1, #KEYS do
        redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
        local is_full = redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[5 + i])
        if is_full and not redis.call('ZSCORE', KEYS[i], session) then return i end
    end
end
for i = 1, #KEYS do
    redis.call('ZADD', KEYS[i], ends, session)
    -- As long as the longest lease in it.
    redis.call('PEXPIRE', KEYS[i], ARGV[5], 'NX')
    redis.call('PEXPIRE', KEYS[i], ARGV[5], 'GT')
end
return 0
