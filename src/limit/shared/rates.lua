-- Takes all that one call asks of its org's buckets, at once. Each bucket is the GCRA's theoretical arrival time (TAT) on
-- the org's own clock, in microseconds: numbers up to 2^53 are exact here, those of this century stay below 2^51.
--
-- KEYS[1]  the org's hash: one key, so that it is lost as a whole or not at all
-- ARGV[1]  how long ago the caller began to decide without the store, and has not told it since; -1 if it did not
-- ARGV[2]  how long ago it last did
-- ARGV[3]  milliseconds after which an org that nobody calls is forgotten
-- ARGV[4]  buckets that an org has at most
-- then, for each demand: bucket, fill time, time that is taken, 1 if in force, 2 if so for a share of the calls, rule, rate
-- Answers: the server's time, then for each demand 1 if it passes, and how long until its bucket is full.
--
-- Fields: '#...' of the org, '@<rule>' the rates that the rule had of late, each with the org's time when it was first
-- seen, 'u...' buckets of subjects, 'o...' those of the org; the second letter of a bucket is 's' where it is only looked at,
-- the fourth is the level of the entry, 3 of a subject's own.
local key, ttl, most = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''

local org = redis.call('HMGET', key, '#server', '#birth', '#seen', '#behind', '#began', '#ended', '#end', '#floor', '#longest')
local birth, seen, behind = tonumber(org[2]), tonumber(org[3]) or now, tonumber(org[4]) or 0
-- The time that callers last had to decide by themselves, as far as they told: by the server's clock.
local began, ended = tonumber(org[5]) or 0, tonumber(org[6]) or 0
-- What that leaves of every bucket: at `stop` it was as full as the time up to `floor`. On the org's own clock.
local stop, floor = tonumber(org[7]) or 0, tonumber(org[8]) or 0
-- The org's bucket that takes longest to fill.
local longest = tonumber(org[9]) or 0
for i = 5, #ARGV, 6 do longest = math.max(longest, tonumber(ARGV[i + 1])) end

-- A clock that was set back goes on for the org from where it was.
if now < seen then
    behind, began, ended = behind - (seen - now), began - (seen - now), ended - (seen - now)
end
-- While callers decide by themselves they give out what is filled up: it is not there a second time, and the org's clock
-- stands still. Several are away at the same time; that time counts once. What they had saved up meanwhile they may have
-- given out at the very end: so much is gone as well. Nothing of this is worth more than to empty every bucket, and after
-- the time that fills them it is over.
if tonumber(ARGV[1]) >= 0 then
    local from, to = now - tonumber(ARGV[1]), now - tonumber(ARGV[2])
    local gone = to - from
    if from > ended then
        began, ended = from, to
    elseif to >= began then
        gone = math.max(began - from, 0) + math.max(to - ended, 0)
        began, ended = math.min(began, from), math.max(ended, to)
    end
    if now - to < longest then behind = behind + math.min(gone, longest) end
    stop, floor = math.max(stop, to - behind), math.max(floor, to - behind + math.min(to - from, longest))
end
local clock = now - behind
-- The clock may have gone back behind these: nobody is to wait until it has caught up.
stop = math.min(stop, clock)
-- A server that knows nothing of the org, or is another one than before and may have lost what was last, gives no burst:
-- every bucket counts as emptied now.
if not birth or org[1] ~= server then birth = clock end
birth = math.min(birth, clock)

local integer = function(number) return string.format('%.0f', number) end
local written = {
    '#server', server, '#birth', integer(birth), '#seen', integer(now), '#behind', integer(behind), '#began', integer(began),
    '#ended', integer(ended), '#end', integer(stop), '#floor', integer(floor), '#longest', integer(longest),
}

-- When a rule's rate was first seen: of the first rate of a rule always, so that its buckets begin full; a rate that takes
-- the place of another begins without a burst. Of more than eight the oldest is forgotten, which is worth no burst either.
local born = function(list_name, rate, known)
    local list, found = {}, nil
    for name, at in string.gmatch(known or '', '(%S+)=(%d+)') do
        -- None is of later than now, as above.
        at = integer(math.min(tonumber(at), clock))
        if name == rate then found = tonumber(at) end
        list[#list + 1] = name .. '=' .. at
    end
    if not found then
        found = 0
        if #list > 0 then found = clock end
        list[#list + 1] = rate .. '=' .. integer(found)
        if #list > 8 then table.remove(list, 1) end
    end
    local text = table.concat(list, ' ')
    if text ~= known then redis.call('HSET', key, list_name, text) end
    return found, list
end

-- When a bucket is full that was emptied then, if what is held of it does not say later.
local tat_of = function(held, empty, fill)
    return math.max(tonumber(held or '0') or 0, empty + fill, math.min(stop + fill, floor), clock)
end

-- Of a rate by its name: the time of one call, as the caller reckons it, and of a burst.
local measures = function(rate)
    local calls, per, burst = string.match(rate, '^(%d+)/(%d+)/(%d+)$')
    local pace = math.max(math.ceil(math.floor(tonumber(per) / 1000) / tonumber(calls)), 1)
    return pace, pace * tonumber(burst)
end

-- Where the rates of a rule are written. Subjects with entries of their own may all have other ones.
local list_of = function(rule, subject)
    if string.sub(rule, 1, 1) == 'u' and string.sub(rule, 4, 4) == '3' then return '@' .. rule .. subject end
    return '@' .. rule
end

-- Which entries a call is held against, or looked at by.
local asked = {}
local entry = function(rule) return string.sub(rule, 1, 1) .. string.sub(rule, 3) end
for i = 5, #ARGV, 6 do asked[entry(ARGV[i + 4])] = true end

-- How many calls are gone of the same rate's entries on other levels that the call is not held against: they were in force
-- until the policy was changed, and what is gone is not there a second time.
local gone = function(demand)
    local most = 0
    for level = 0, 3 do
        local rule = string.sub(demand.rule, 1, 3) .. level .. string.sub(demand.rule, 5)
        if not asked[entry(rule)] then
            local known = redis.call('HGET', key, list_of(rule, demand.subject)) or ''
            for rate in string.gmatch(known, '(%S+)=%d+') do
                local pace, fill = measures(rate)
                local tat = tonumber(redis.call('HGET', key, rule .. ':' .. rate .. demand.subject) or '0')
                most = math.max(most, math.min(tat - clock, fill) / pace)
            end
        end
    end
    return most
end

local demands, passes, levels = {}, true, {}
for i = 5, #ARGV, 6 do
    local demand = { bucket = ARGV[i], fill = tonumber(ARGV[i + 1]), take = tonumber(ARGV[i + 2]), forced = ARGV[i + 3] ~= '0' }
    local rule, rate = ARGV[i + 4], ARGV[i + 5]
    demand.rule, demand.rate, demand.subject = rule, rate, string.sub(demand.bucket, #rule + #rate + 2)
    if not levels[demand.bucket] then
        local list_name = list_of(rule, demand.subject)
        local held = redis.call('HMGET', key, demand.bucket, list_name)
        local seen_first, rates = born(list_name, rate, held[2])
        local tat = tat_of(held[1], math.max(birth, seen_first), demand.fill)
        if #rates > 1 then demand.rates = rates end
        local elsewhere = 0
        -- What is for a share of the calls takes the place of nothing.
        if ARGV[i + 3] == '1' then elsewhere = gone(demand) end
        if elsewhere > 0 and not held[1] then
            tat = clock + demand.fill
        elseif elsewhere > 0 then
            tat = math.max(tat, clock + math.ceil(elsewhere * measures(rate)))
        end
        -- Never more than empty. What it comes to also stands where nothing is taken, as else it would be so for as long as
        -- the clock went back, or as the other entry takes to fill.
        if tat > clock + demand.fill or (elsewhere > 0 and not held[1]) then
            tat = clock + demand.fill
            written[#written + 1] = demand.bucket
            written[#written + 1] = integer(tat)
        end
        levels[demand.bucket] = tat - clock
    end
    demand.fits = levels[demand.bucket] + demand.take <= demand.fill
    if demand.forced and not demand.fits then passes = false end
    demands[#demands + 1] = demand
end

-- What passes at one rate of a rule is taken of its other rates' buckets as well, at most until they are empty: a rate
-- that was changed and is changed back brings no burst.
local beside = {}
local charge = function(demand)
    local calls = demand.take / measures(demand.rate)
    for _, other in ipairs(demand.rates or {}) do
        local rate, at = string.match(other, '^(%S+)=(%d+)$')
        local bucket = demand.rule .. ':' .. rate .. demand.subject
        if not levels[bucket] then
            local pace, fill = measures(rate)
            local full = beside[bucket]
                or tat_of(redis.call('HGET', key, bucket), math.max(birth, tonumber(at)), fill)
            beside[bucket] = math.min(full + calls * pace, clock + fill)
            written[#written + 1] = bucket
            written[#written + 1] = integer(beside[bucket])
        end
    end
end

for _, demand in ipairs(demands) do
    -- One bucket may be asked twice.
    demand.fits = demand.fits and levels[demand.bucket] + demand.take <= demand.fill
    -- Also of what is only looked at: in force it would not have been taken of either.
    if demand.fits and passes then
        levels[demand.bucket] = levels[demand.bucket] + demand.take
        written[#written + 1] = demand.bucket
        written[#written + 1] = integer(clock + levels[demand.bucket])
        charge(demand)
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
