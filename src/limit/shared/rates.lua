-- Takes all that one call asks of its org's buckets, at once. Each bucket is the GCRA's theoretical arrival time (TAT) on
-- the org's own clock, in microseconds: numbers up to 2^53 are exact here, those of this century stay below 2^51.
--
-- KEYS[1]  the org's hash: one key, so that it is lost as a whole or not at all
-- ARGV[1]  how long the caller had to decide without the store, just before this call
-- ARGV[2]  milliseconds after which an org that nobody calls is forgotten
-- then, for each demand: bucket, fill time, time that is taken, 1 if in force
-- Answers: the server's time, then for each demand 1 if it passes, and how long until its bucket is full.
local key, away, ttl = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''

local org = redis.call('HMGET', key, '#server', '#birth', '#seen', '#behind', '#paused')
local birth, seen, behind = tonumber(org[2]), tonumber(org[3]) or now, tonumber(org[4]) or 0
local paused = tonumber(org[5]) or 0

-- A clock that was set back goes on for the org from where it was.
if now < seen then
    behind = behind - (seen - now)
    paused = paused - (seen - now)
end
-- While callers had to decide by themselves they gave out what was filled up: it is not there a second time. Several of
-- them were away at the same time; that time counts once.
if away > 0 then
    local from = math.max(now - away, paused)
    if from < now then behind = behind + (now - from) end
    paused = now
end
local clock = now - behind
-- A server that knows nothing of the org, or is another one than before and may have lost what was last, gives no burst:
-- every bucket counts as emptied now.
if not birth or org[1] ~= server then birth = clock end

local demands, passes, levels = {}, true, {}
for i = 3, #ARGV, 4 do
    local demand = { bucket = ARGV[i], fill = tonumber(ARGV[i + 1]), take = tonumber(ARGV[i + 2]), forced = ARGV[i + 3] == '1' }
    if not levels[demand.bucket] then
        local tat = tonumber(redis.call('HGET', key, demand.bucket) or '0') or 0
        levels[demand.bucket] = math.max(tat, birth + demand.fill, clock) - clock
    end
    demand.fits = levels[demand.bucket] + demand.take <= demand.fill
    if demand.forced and not demand.fits then passes = false end
    demands[#demands + 1] = demand
end

local integer = function(number) return string.format('%.0f', number) end
local written = {
    '#server', server, '#birth', integer(birth), '#seen', integer(now), '#behind', integer(behind), '#paused', integer(paused),
}
for _, demand in ipairs(demands) do
    -- One bucket may be asked twice.
    demand.fits = demand.fits and levels[demand.bucket] + demand.take <= demand.fill
    if demand.fits and (passes or not demand.forced) then
        levels[demand.bucket] = levels[demand.bucket] + demand.take
        written[#written + 1] = demand.bucket
        written[#written + 1] = integer(clock + levels[demand.bucket])
    end
end
redis.call('HSET', key, unpack(written))
if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end

-- A full bucket is as good as none: some are looked at each time, so that the hash does not grow for ever.
if redis.call('HLEN', key) > 64 then
    local found = redis.call('HSCAN', key, redis.call('HGET', key, '#sweep') or '0', 'COUNT', 8)
    for i = 1, #found[2], 2 do
        local field, tat = found[2][i], tonumber(found[2][i + 1])
        if string.sub(field, 1, 1) ~= '#' and tat and tat <= clock then redis.call('HDEL', key, field) end
    end
    redis.call('HSET', key, '#sweep', found[1])
end

local answer = { now }
for _, demand in ipairs(demands) do
    answer[#answer + 1] = demand.fits and 1 or 0
    answer[#answer + 1] = levels[demand.bucket]
end
return answer
