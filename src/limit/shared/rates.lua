-- Takes all that one call asks of its org's buckets, at once. Each bucket is the GCRA's theoretical arrival time (TAT) on
-- the org's own clock, in microseconds: numbers up to 2^53 are exact here, those of this century stay below 2^51.
--
-- KEYS[1]  the org's hash: one key, so that it is lost as a whole or not at all
-- ARGV[1]  how long the caller had to decide without the store, just before this call
-- ARGV[2]  milliseconds after which an org that nobody calls is forgotten
-- ARGV[3]  buckets that an org has at most
-- then, for each demand: bucket, fill time, time that is taken, 1 if in force, rule, rate
-- Answers: the server's time, then for each demand 1 if it passes, and how long until its bucket is full.
--
-- Fields: '#...' of the org, '@<rule>' the rates that the rule had of late, each with the org's time when it was first
-- seen, 'u...' buckets of subjects, 'o...' those of the org; the second letter of a bucket is 's' where it is only looked at.
local key, away, ttl, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
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

local integer = function(number) return string.format('%.0f', number) end
local written = {
    '#server', server, '#birth', integer(birth), '#seen', integer(now), '#behind', integer(behind), '#paused', integer(paused),
}

-- When a rule's rate was first seen: of the first rate of a rule always, so that its buckets begin full; a rate that takes
-- the place of another begins without a burst. Of more than eight the oldest is forgotten, which is worth no burst either.
local born = function(rule, rate, known)
    local list = {}
    for name, at in string.gmatch(known or '', '(%S+)=(%d+)') do
        if name == rate then return tonumber(at) end
        list[#list + 1] = name .. '=' .. at
    end
    local at = 0
    if #list > 0 then at = clock end
    list[#list + 1] = rate .. '=' .. integer(at)
    if #list > 8 then table.remove(list, 1) end
    redis.call('HSET', key, '@' .. rule, table.concat(list, ' '))
    return at
end

local demands, passes, levels = {}, true, {}
for i = 4, #ARGV, 6 do
    local demand = { bucket = ARGV[i], fill = tonumber(ARGV[i + 1]), take = tonumber(ARGV[i + 2]), forced = ARGV[i + 3] == '1' }
    if not levels[demand.bucket] then
        local rule, rate = ARGV[i + 4], ARGV[i + 5]
        local held = redis.call('HMGET', key, demand.bucket, '@' .. rule)
        local empty = math.max(birth, born(rule, rate, held[2]))
        levels[demand.bucket] = math.max(tonumber(held[1] or '0') or 0, empty + demand.fill, clock) - clock
    end
    demand.fits = levels[demand.bucket] + demand.take <= demand.fill
    if demand.forced and not demand.fits then passes = false end
    demands[#demands + 1] = demand
end

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

-- A full bucket is as good as none: some are looked at each time, so that the hash does not grow for ever. Above the
-- bound, whoever makes up subjects gets no more room by it: of those that are looked at subjects' go, first what is only
-- looked at, then what is nearest to full. What they spend is still within their org's rate.
local length = redis.call('HLEN', key)
if length > 64 then
    local count = 8
    if length > most then count = 64 end
    local found = redis.call('HSCAN', key, redis.call('HGET', key, '#sweep') or '0', 'COUNT', count)
    local spare = {}
    for i = 1, #found[2], 2 do
        local field, tat = found[2][i], tonumber(found[2][i + 1])
        local kind = string.sub(field, 1, 1)
        if (kind == 'o' or kind == 'u') and (not tat or tat <= clock) then
            length = length - redis.call('HDEL', key, field)
        elseif kind == 'u' then
            spare[#spare + 1] = { field = field, forced = string.sub(field, 2, 2) ~= 's', tat = tat }
        end
    end
    if length > most then
        table.sort(spare, function(a, b)
            if a.forced ~= b.forced then return b.forced end
            return a.tat < b.tat
        end)
        for i = 1, math.min(#spare, length - most) do redis.call('HDEL', key, spare[i].field) end
    end
    redis.call('HSET', key, '#sweep', found[1])
end

local answer = { now }
for _, demand in ipairs(demands) do
    answer[#answer + 1] = demand.fits and 1 or 0
    answer[#answer + 1] = levels[demand.bucket]
end
return answer
