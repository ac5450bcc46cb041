-- The clock, and the fields: tokens before requests, smallest window first, as in `script.rs`.
local names = {'tpm', 'tpd', 'rps', 'rpm', 'rph', 'rpd'}
local spans = {60, 86400, 1, 60, 3600, 86400}
local time = redis.call('TIME')
local secs = tonumber(time[1])
local now = secs * 1000 + math.floor(tonumber(time[2]) / 1000)
local function counter(stem, field, at)
  return stem .. ':' .. names[field] .. ':' .. string.format('%d', at - at % spans[field])
end
local function add(stem, field, amount)
  local key = counter(stem, field, secs)
  if redis.call('INCRBY', key, string.format('%d', amount)) == amount then
    redis.call('EXPIRE', key, spans[field] + 5)
  end
end
