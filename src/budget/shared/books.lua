-- Reads an org's books, or changes them if they are still what the caller read: whoever judges by them does so by what
-- they are at that moment.
--
-- KEYS[1]  the org's hash: one key, so that it is lost as a whole or not at all
-- ARGV[1]  the version that the caller knows; empty for none
-- to change them, also: ARGV[2] the version that they are to be, ARGV[3] the books, ARGV[4] milliseconds to keep them
-- Answers: the server's time in microseconds, the version that they are of now, and if the caller does not know that one, the
-- books and until when calls may take effect that were sent without claims, in the server's microseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local held = redis.call('HMGET', KEYS[1], 'version', 'server')
local version = held[1] or ''
-- Another server than the one that they were written to may have lost what was written last: a version of its own, that
-- says so.
if version ~= '' and held[2] ~= server then version = version .. '*' end
if version ~= ARGV[1] then
    local there = redis.call('HMGET', KEYS[1], 'books', 'unclaimed')
    return { now, version, there[1] or '', tonumber(there[2]) or 0 }
end
if ARGV[2] then
    redis.call('HSET', KEYS[1], 'version', ARGV[2], 'server', server, 'books', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    version = ARGV[2]
end
return { now, version }
