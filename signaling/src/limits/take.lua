-- policy/src/limits.rs, `take` and `charge`, in Redis. Numbers are doubles: every one of them is a whole number below 2^53.
-- KEYS: counters. ARGV: now in microseconds, '1' to charge without asking, then for each counter: amount of the rate,
-- its window in microseconds, amount wanted.
-- Gives {} or {place of the first full counter, microseconds to wait or -1}.
local now = tonumber(ARGV[1])
local asks = ARGV[2] ~= '1'

local function read(i)
    local of = tonumber(ARGV[3 * i])
    local window = tonumber(ARGV[3 * i + 1])
    local amount = tonumber(ARGV[3 * i + 2])
    local stored = redis.call('HMGET', KEYS[i], 'level', 'at')
    local level = tonumber(stored[1]) or 0
    local at = tonumber(stored[2]) or now
    local passed = math.min(math.max(now - at, 0), 2 * window)
    return math.max(level - passed * of, 0), math.max(at, now), of, window, amount
end

if asks then
    for i = 1, #KEYS do
        local level, _, of, window, amount = read(i)
        local needed = math.max(amount * window, 1)
        local capacity = of * window
        local excess = level + needed - capacity
        if excess > 0 then
            if needed > capacity then return {i, -1} end
            local rest = math.fmod(excess, of)
            local wait = (excess - rest) / of
            if rest > 0 then wait = wait + 1 end
            return {i, wait}
        end
    end
end

for i = 1, #KEYS do
    local level, at, of, window, amount = read(i)
    if amount > 0 then
        level = math.min(level + amount * window, 2 * of * window)
        redis.call('HSET', KEYS[i], 'level', string.format('%.0f', level), 'at', string.format('%.0f', at))
        -- Drained by then.
        redis.call('PEXPIRE', KEYS[i], string.format('%.0f', math.ceil(2 * window / 1000) + 1000))
    end
end
return {}
