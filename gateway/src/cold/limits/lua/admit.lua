-- What it takes and answers is said in `script.rs`.
local tokens, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])
local reply = {now, 0, 0}
local function seen(bucket, field, limit, count)
  if reply[2] == 0 and count >= limit then
    reply[2], reply[3] = bucket, field
  end
  reply[#reply + 1] = count
end
for bucket, stem in ipairs(KEYS) do
  local base = 4 + (bucket - 1) * 7
  local slots = tonumber(ARGV[base])
  if slots then
    local key = stem .. ':conc'
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%d', now - ttl))
    seen(bucket, 0, slots, redis.call('ZCARD', key))
  else
    reply[#reply + 1] = -1
  end
  for field = 1, 6 do
    local limit = tonumber(ARGV[base + field])
    if limit then
      seen(bucket, field, limit, tonumber(redis.call('GET', counter(stem, field, secs)) or 0))
    else
      reply[#reply + 1] = -1
    end
  end
end
if reply[2] ~= 0 then
  return reply
end
for bucket, stem in ipairs(KEYS) do
  local base = 4 + (bucket - 1) * 7
  if ARGV[base] ~= '' then
    redis.call('ZADD', stem .. ':conc', string.format('%d', now), ARGV[1])
    redis.call('PEXPIRE', stem .. ':conc', string.format('%d', ttl + 5000))
  end
  for field = 1, 6 do
    local amount = field <= 2 and tokens or 1
    if ARGV[base + field] ~= '' and amount > 0 then
      add(stem, field, amount)
    end
  end
end
return reply
