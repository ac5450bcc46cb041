-- What it takes and answers is said in `script.rs`.
local time = redis.call('TIME')
local now = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local key = KEYS[1] .. ':conc'
for at = 2, #ARGV do
  redis.call('ZADD', key, 'XX', now, ARGV[at])
end
redis.call('PEXPIRE', key, string.format('%d', tonumber(ARGV[1]) + 5000))
return 1
