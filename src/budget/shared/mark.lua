-- Says that calls of an org are sent without claims, which no books know of: whoever judges by them has to count anew, and
-- not before the calls can take no effect any more.
--
-- KEYS[1]  the org's hash
-- ARGV[1]  milliseconds from now until then; ARGV[2] a version, so that all have to read it; ARGV[3] milliseconds to keep it
-- Answers 1.
local time = redis.call('TIME')
local until_then = tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[1]) * 1000
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
-- Books of another server stay in doubt.
redis.call('HSETNX', KEYS[1], 'server', server)
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'unclaimed', string.format('%.0f', until_then))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
