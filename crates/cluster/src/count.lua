-- What several nodes count together. One call takes all that a request wants of its limits, or nothing.
--
-- A rate is one moment, that at which it is full again, and a request moves it: the same arithmetic as policy's `Bucket`, to the
-- nanosecond. Lua's numbers are doubles, whole only up to 2^53, and nanoseconds since 1970 are more: so a moment, and every length
-- of time, is a pair of whole seconds and the nanoseconds below one. There is no product: what an amount costs in time is
-- worked out by whoever asks.
--
-- Places under way are a hash: for each node, how many it has. Those of a node that is not heard of any more are nobody's.

local NANO = 1000000000
-- A rate that is full is forgotten after this, seconds; a place that nobody touched, too.
local MARGIN = 60
local LONGEST_PLACE = 86400
-- A node that is not heard of for so long is gone, seconds.
local ALIVE = 5

local function before(as, an, bs, bn)
  return as < bs or (as == bs and an < bn)
end

local function plus(as, an, bs, bn)
  local n = an + bn
  if n >= NANO then
    return as + bs + 1, n - NANO
  end
  return as + bs, n
end

-- Not below nothing.
local function minus(as, an, bs, bn)
  if before(as, an, bs, bn) then
    return 0, 0
  end
  if an < bn then
    return as - bs - 1, an - bn + NANO
  end
  return as - bs, an - bn
end

-- The server's own time, so that the clocks of nodes do not matter; tests say another.
local function moment(said)
  if said ~= '' then
    local s, n = string.match(said, '^(%d+)%.(%d+)$')
    return tonumber(s), tonumber(n)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]), tonumber(time[2]) * 1000
end

local function read(key)
  local text = redis.call('GET', key)
  if not text then
    return nil, nil
  end
  local s, n = string.match(text, '^(%d+)%.(%d+)$')
  return tonumber(s) or 0, tonumber(n) or 0
end

local function write(key, s, n, now_s)
  local life = MARGIN
  if s > now_s then
    life = life + s - now_s
  end
  redis.call('SET', key, string.format('%d.%09d', s, n), 'EX', string.format('%d', life))
end

-- How many places all nodes have together.
local function in_use(nodes, key, node, now_s)
  local all = redis.call('HGETALL', key)
  local sum = 0
  for i = 1, #all, 2 do
    local whose, count = all[i], tonumber(all[i + 1])
    if whose ~= node then
      local ends = redis.call('ZSCORE', nodes, whose)
      if not ends or tonumber(ends) < now_s then
        redis.call('HDEL', key, whose)
        count = 0
      end
    end
    sum = sum + count
  end
  return sum
end

local function enter(key, node, count)
  if redis.call('HINCRBY', key, node, count) <= 0 then
    redis.call('HDEL', key, node)
  else
    redis.call('EXPIRE', key, LONGEST_PLACE)
  end
end

-- Each part of what is wanted is: shadow or not, how many things, and for each its kind with `r span cost` or `p limit`.
-- Answers for each part a list: which thing refused (0: none), then for each thing how far it is from full. What follows a
-- refusal that is no shadow is not looked at.
local function take(keys, args)
  local now_s, now_n = moment(args[2])
  local node, nodes = args[3], keys[1]
  local answer, rates, places = {}, {}, {}
  local k, a = 2, 4
  while a <= #args do
    local shadow, things = args[a] == '1', tonumber(args[a + 1])
    a = a + 2
    local told, refused, mine, held = {0}, 0, {}, {}
    for i = 1, things do
      local key, kind = keys[k], args[a]
      k = k + 1
      if kind == 'p' then
        local most = tonumber(args[a + 1])
        a = a + 2
        if refused == 0 then
          local used = places[key] or in_use(nodes, key, node, now_s)
          if used >= most then
            refused = i
          end
          held[key] = used + 1
          told[2 * i], told[2 * i + 1] = used, 0
        end
      else
        local span_s, span_n = tonumber(args[a + 1]), tonumber(args[a + 2])
        local cost_s, cost_n = tonumber(args[a + 3]), tonumber(args[a + 4])
        a = a + 5
        if refused == 0 then
          local full = rates[key]
          if not full then
            local s, n = read(key)
            full = {s or 0, n or 0}
          end
          local ahead_s, ahead_n = minus(full[1], full[2], now_s, now_n)
          local some = ahead_s > 0 or ahead_n > 0
          local after_s, after_n = ahead_s, ahead_n
          -- A cost below nothing: a limit of 0, which admits nothing.
          if cost_s >= 0 then
            after_s, after_n = plus(ahead_s, ahead_n, cost_s, cost_n)
          end
          if cost_s < 0 or (some and (not before(ahead_s, ahead_n, span_s, span_n)
              or before(span_s, span_n, after_s, after_n))) then
            refused = i
            told[2 * i], told[2 * i + 1] = ahead_s, ahead_n
          else
            local s, n = plus(now_s, now_n, after_s, after_n)
            mine[key] = {s, n}
            told[2 * i], told[2 * i + 1] = after_s, after_n
          end
        end
      end
    end
    told[1] = refused
    answer[#answer + 1] = told
    if refused == 0 then
      for key, full in pairs(mine) do
        rates[key] = full
      end
      for key, used in pairs(held) do
        places[key] = used
        held[key] = nil
      end
    elseif not shadow then
      return answer
    end
  end
  for key, full in pairs(rates) do
    write(key, full[1], full[2], now_s)
  end
  for key, _ in pairs(places) do
    enter(key, node, 1)
  end
  return answer
end

-- Puts a rate right by so much time, `+` or `-`.
local function correct(keys, args)
  local now_s = moment(args[2])
  local key, sign = keys[2], args[4]
  local by_s, by_n = tonumber(args[5]), tonumber(args[6])
  local s, n = read(key)
  if sign == '-' then
    if not s then
      return 0
    end
    s, n = minus(s, n, by_s, by_n)
  elseif not s then
    -- Lost or long full: as though it were taken now.
    s, n = plus(now_s, 0, by_s, by_n)
  else
    s, n = plus(s, n, by_s, by_n)
  end
  write(key, s, n, now_s)
  return 1
end

-- Takes of a rate what it has, at most so much time of it. Answers what was had, and how far it is from full then.
local function lease(keys, args)
  local now_s, now_n = moment(args[2])
  local key = keys[2]
  local span_s, span_n = tonumber(args[4]), tonumber(args[5])
  local want_s, want_n = tonumber(args[6]), tonumber(args[7])
  local s, n = read(key)
  local ahead_s, ahead_n = minus(s or 0, n or 0, now_s, now_n)
  local room_s, room_n = minus(span_s, span_n, ahead_s, ahead_n)
  if before(room_s, room_n, want_s, want_n) then
    want_s, want_n = room_s, room_n
  end
  if want_s > 0 or want_n > 0 then
    ahead_s, ahead_n = plus(ahead_s, ahead_n, want_s, want_n)
    local full_s, full_n = plus(now_s, now_n, ahead_s, ahead_n)
    write(key, full_s, full_n, now_s)
  end
  return {want_s, want_n, ahead_s, ahead_n}
end

-- So many places more or fewer, whatever there are.
local function places(keys, args)
  enter(keys[2], args[3], tonumber(args[4]))
  return 1
end

-- A node is there. Answers whether it was all the time, and how many nodes there are. Nothing else says that a node is there: one that
-- was thought to be gone has lost its places, and has to learn that here.
local function beat(keys, args)
  local now_s = moment(args[2])
  local known = redis.call('ZSCORE', keys[1], args[3])
  known = known and tonumber(known) >= now_s
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', '(' .. now_s)
  redis.call('ZADD', keys[1], now_s + ALIVE, args[3])
  redis.call('EXPIRE', keys[1], LONGEST_PLACE)
  return {known and 1 or 0, redis.call('ZCARD', keys[1])}
end

local function leave(keys, args)
  redis.call('ZREM', keys[1], args[3])
  return 1
end

local VERBS = {take = take, correct = correct, lease = lease, places = places, beat = beat, leave = leave}
