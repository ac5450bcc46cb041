-- What it takes and answers is said in `script.rs`.
local requests, reserved, charged = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function take_off(stem, field, amount)
  local key = counter(stem, field, secs)
  local count = tonumber(redis.call('GET', key) or 0)
  amount = math.min(amount, count)
  if amount > 0 then
    redis.call('DECRBY', key, string.format('%d', amount))
  end
end
for bucket, stem in ipairs(KEYS) do
  local base = 5 + (bucket - 1) * 2
  local at, counted = tonumber(ARGV[base]), ARGV[base + 1]
  if counted:sub(1, 1) == '1' then
    redis.call('ZREM', stem .. ':conc', ARGV[1])
  end
  for field = 1, 6 do
    if counted:sub(field + 1, field + 1) == '1' then
      local is_current = counter(stem, field, at) == counter(stem, field, secs)
      local more = 0
      if field <= 2 and charged >= 0 then
        more = charged - reserved
      elseif field > 2 then
        more = -requests
      end
      if more > 0 then
        add(stem, field, more)
      elseif more < 0 and is_current then
        take_off(stem, field, -more)
      end
    end
  end
end
return 1
