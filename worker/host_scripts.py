"""The Lua scripts of the host gate. Times are in microseconds, on the clock of Redis.

What is known of a host is a hash of numbers:

- ``start``, ``delay`` of the last request that was granted, and its ``serial`` number
- ``base``, ``concurrency``: how it was last asked for
- ``latency``: moving average; ``slow``: the delay since it asked us to slow down, 0 when it recovered; ``slowed``: when
  it last asked
- ``failures`` in a row; ``open``: the breaker is open until then, 0 when it is closed; ``span``: for how long it was
  opened; ``probe``: the request that tries whether the host is back is forgotten then
- ``paused``: it asked to be left alone until then

Its requests under way are a sorted set: token → when a request is taken for dead. A token tells what the script needs
to take the grant back: ``<nonce>:<serial>:<start>:<start of the one before>:<delay of the one before>``.
"""

FARTHEST = 60_000_000  # how far ahead a slot may start; one that is farther off is of a clock that was set back

_KNOWN = (
    f"""
local FARTHEST = {FARTHEST}
"""
    """
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local SECOND, HOUR, DAY = 1000000, 3600000000, 86400000000
local NOTHING = {__index = function() return 0 end}

local function whole(number) return string.format('%.0f', number) end

-- What is 0 is not kept.
local function read(key)
  local flat, host = call('HGETALL', key), setmetatable({}, NOTHING)
  for at = 1, #flat, 2 do host[flat[at]] = tonumber(flat[at + 1]) end
  if host.start > now + FARTHEST then host.start = now end
  if host.paused > now + DAY then host.paused = now + DAY end
  if host.open > now + 2 * HOUR then host.open = now + 2 * HOUR end
  return host
end

-- A host is remembered for an hour longer than it has to wait: the next source may ask for a longer delay.
local function write(key, host)
  local kept, gone = {}, {}
  for name, value in pairs(host) do
    if value == 0 then
      gone[#gone + 1] = name
    else
      kept[#kept + 1], kept[#kept + 2] = name, whole(value)
    end
  end
  if #gone > 0 then call('HDEL', key, unpack(gone)) end
  if #kept == 0 then return end
  call('HSET', key, unpack(kept))
  local ends = math.max(now, host.start + host.delay, host.paused, host.open + host.span) + HOUR
  call('PEXPIRE', key, whole((ends - now) / 1000))
end

-- What lies between two requests. Where no delay is wanted, concurrency alone is the bound.
local function spacing(host, delay, concurrency)
  if delay > 0 then delay = math.max(delay, math.floor(host.latency / concurrency)) end
  return math.max(delay, host.slow)
end
"""
)

# KEYS: since when hosts are remembered, then of each that is wanted the hash and the set.
# ARGV: nonce, how far ahead a slot may start, how far ahead one may that was granted before Redis was flushed, how long
# one is held, then of each that is wanted the number of requests, delay, concurrency, and for how long it is to be left
# alone.
# Returns the time, then for each that is wanted why there are fewer, when to ask again, and tokens with their starts.
# A host of which nothing is known may have been asked just before Redis was flushed: its first request waits as if.
ADMIT = (
    _KNOWN
    + """
local horizon, lease = tonumber(ARGV[2]), tonumber(ARGV[4])
call('SET', KEYS[1], whole(now + ARGV[3]), 'NX')
local since = math.min(tonumber(call('GET', KEYS[1])), now + FARTHEST)

local function why(start, host, paused)
  if start == paused then return 'paused' end
  return start == host.open and 'down' or 'pace'
end

local function hold(slots, granted)
  call('ZADD', slots, unpack(granted))
  local last = tonumber(call('ZRANGE', slots, -1, -1, 'WITHSCORES')[2])
  call('PEXPIRE', slots, whole((last - now) / 1000 + 1000))
end

local function admit(nonce, key, slots, count, delay, concurrency, paused)
  local host = read(key)
  call('ZREMRANGEBYSCORE', slots, '-inf', whole(now))
  local room = concurrency - call('ZCARD', slots)
  local again = now + math.max(SECOND / 10, math.min(host.latency / concurrency, SECOND))
  if host.open > 0 then
    room, again = host.probe > now and 0 or math.min(room, 1), now + SECOND
  end
  paused = math.max(now + paused, host.paused)
  local apart = spacing(host, delay, concurrency)
  local earliest = math.max(paused, host.open, apart > 0 and since + apart or 0)
  local answer, granted = {'', 0}, {}
  for number = 1, count do
    local start = math.max(earliest, host.start + math.max(host.delay, apart))
    if start > now + horizon then
      answer[1], answer[2] = why(start, host, paused), start - horizon
      break
    elseif number > room then
      answer[1], answer[2] = host.open > 0 and 'down' or 'concurrency', again
      break
    end
    host.serial = host.serial + 1
    local token = string.format('%s:%.0f:%.0f:%.0f:%.0f', nonce, host.serial, start, host.start, host.delay)
    granted[#granted + 1], granted[#granted + 2] = whole(start + lease), token
    answer[#answer + 1], answer[#answer + 2] = token, start
    host.start, host.delay = start, apart
  end
  if #granted > 0 then
    hold(slots, granted)
    host.base, host.concurrency = delay, concurrency
    if host.open > 0 then host.probe = host.start + lease end
    write(key, host)
  end
  return answer
end

local answers = {now}
for at = 1, (#KEYS - 1) / 2 do
  local wanted = {}
  for place = 1, 4 do wanted[place] = tonumber(ARGV[4 * at + place]) end
  answers[at + 1] = admit(ARGV[1] .. '.' .. at, KEYS[2 * at], KEYS[2 * at + 1], unpack(wanted))
end
return answers
"""
)

# KEYS: of each request that ended the hash and the set. ARGV: a draw from 0 to 1, then of each its token, how it ended,
# its latency, how late it began, and how long the host asks to be left alone.
# Returns the time, then of each host that is to be left alone which one it is, until when, and why.
# What began before the host last asked us to slow down says nothing of the pace since then. A slot whose time ran out
# may have been given to somebody else: of a breaker that is open, only its own probe speaks. From a request that began
# late on, the next one has its whole distance, unless it was granted before.
REPORT = (
    _KNOWN
    + """
local draw = tonumber(ARGV[1])
local answers = {now}

local function pause(at, till, reason)
  answers[#answers + 1] = {at, till, reason}
end

local function give_back(host, serial, before, delay)
  if host.serial ~= serial then return end
  host.serial, host.start, host.delay = serial - 1, before, delay
end

local function begun_late(host, serial, start, late)
  if host.serial == serial and late > 0 then
    host.start = math.max(host.start, math.min(start + late, now))
  end
end

local function failed(host, probed, at)
  host.failures = host.failures + 1
  if host.open == 0 then
    if host.failures < 5 then return end
    host.span = 30 * SECOND
  elseif probed then
    host.span = math.min(2 * host.span, HOUR)
  else
    return
  end
  host.probe, host.open = 0, now + host.span * (1 + draw / 4)
  pause(at, host.open, 'down')
end

local function slow_down(host)
  host.slow = math.min(2 * math.max(host.slow, host.base, SECOND), 60 * SECOND)
  host.slowed = now
end

local function leave_alone(host, asked, at)
  local till = now + math.min(asked, DAY)
  if till <= host.paused then return end
  host.paused = till
  pause(at, till, 'asked')
end

local function recover(host)
  host.slow = math.floor(host.slow * 0.8)
  if host.slow <= math.max(host.base, SECOND / 10) then host.slow = 0 end
end

local function answered(host, how, start, latency, asked, at)
  for _, name in ipairs({'failures', 'open', 'span', 'probe'}) do
    if host[name] > 0 then host[name] = 0 end
  end
  local is_new = start > host.slowed
  if how == 'slow_down' then
    if is_new then slow_down(host) end
    if asked > 0 then leave_alone(host, asked, at) end
    return
  end
  if is_new then recover(host) end
  if latency > 0 then
    host.latency = host.latency == 0 and latency or math.floor(host.latency + (latency - host.latency) / 5)
  end
end

for at = 1, #KEYS / 2 do
  local token, how, latency, late, asked = unpack(ARGV, 5 * at - 3, 5 * at + 1)
  local held = call('ZREM', KEYS[2 * at], token) == 1
  if held or how ~= 'unused' then
    local host = read(KEYS[2 * at - 1])
    local serial, start, before, delay = token:match(':(%d+):(%d+):(%d+):(%d+)$')
    local probed = held and host.open > 0 and tonumber(start) >= host.open
    if how == 'unused' then
      if probed then host.probe = 0 end
      give_back(host, tonumber(serial), tonumber(before), tonumber(delay))
    else
      begun_late(host, tonumber(serial), tonumber(start), tonumber(late))
      if how == 'cancelled' then
        if probed then host.probe = 0 end
      elseif how == 'down' then
        failed(host, probed, at)
      else
        answered(host, how, tonumber(start), tonumber(latency), tonumber(asked), at)
      end
    end
    write(KEYS[2 * at - 1], host)
  end
end
return answers
"""
)

# KEYS: of each host the hash and the set. Returns the time, then of each host when the next request may start, until
# when it is left alone, its breaker, delay, latency, requests under way and failures; false where nothing is known.
LOOK = (
    _KNOWN
    + """
local answers = {now}

local function breaker(host)
  if host.open == 0 then return 'closed' end
  return host.open > now and 'open' or 'probing'
end

local function look(host, under_way)
  local apart = spacing(host, host.base, math.max(host.concurrency, 1))
  local alone = math.max(host.paused, host.open)
  local next_at = math.max(host.start + math.max(host.delay, apart), alone)
  return {next_at, alone > now and alone or 0, breaker(host), apart, host.latency, under_way, host.failures}
end

for at = 1, #KEYS / 2 do
  local under_way = call('ZCOUNT', KEYS[2 * at], '(' .. whole(now), '+inf')
  local is_known = under_way > 0 or call('EXISTS', KEYS[2 * at - 1]) == 1
  answers[at + 1] = is_known and look(read(KEYS[2 * at - 1]), under_way)
end
return answers
"""
)
