"""The Lua scripts of the page stream. Each takes KEYS stream, meta and paused; what ARGV holds stands above it."""

GROUP = "penstock"
PARKED = "penstock.parked"  # the group whose consumers, one for each source, hold what is parked

# Makes stream, group and epoch where they are missing. The epoch is renewed only with the stream itself: a group
# that somebody destroyed is made again at 0 under the old epoch, and the inbox passes over what was delivered.
# The group of parked entries is made here, as a full Redis refuses to make one.
ENSURE = f"""
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'epoch', ARGV[2], 'accepted', 0)
end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
redis.pcall('XGROUP', 'CREATE', KEYS[1], '{PARKED}', '0')
local epoch = redis.call('HGET', KEYS[2], 'epoch')
"""

ENSURE_GROUP = ENSURE + "return {epoch, redis.call('HKEYS', KEYS[3])}"

# ARGV: epoch, the least that it accepted.
RAISE_ACCEPTED = """
local gap = tonumber(ARGV[2]) - tonumber(redis.call('HGET', KEYS[2], 'accepted') or 0)
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] or gap <= 0 then return 0 end
redis.call('HINCRBY', KEYS[2], 'accepted', gap)
redis.call('HINCRBY', KEYS[2], 'serial', gap)
return gap
"""

# Entries with the same fields follow each other as a group: the number of fields and of entries, the fields' names,
# then the values of one entry after the other. That halves what Redis has to hand to Lua.
# ARGV: group, epoch if new, high-water mark, whether entries of paused sources are taken (empty: no), the number of
# entries, then the groups.
PUSH = (
    """
local argv, call = ARGV, redis.call
if argv[4] == '' and call('EXISTS', KEYS[3]) == 1 then
  local at = 6
  while at <= #argv do
    local fields, names = tonumber(argv[at]), at + 1
    at = names + fields + 1
    for _ = 1, tonumber(argv[names]) do
      for field = 1, fields do
        local reason = argv[names + field] == 'source' and call('HGET', KEYS[3], argv[at])
        if reason then return {'PAUSED', argv[at], reason} end
        at = at + 1
      end
    end
  end
end
if call('XLEN', KEYS[1]) >= tonumber(argv[3]) then return redis.error_reply('FULL the stream is full') end
local epoch = call('HGET', KEYS[2], 'epoch')
if not epoch or call('EXISTS', KEYS[1]) == 0 then
"""
    + ENSURE.replace("local epoch", "epoch")
    + """
end
local serial = call('HINCRBY', KEYS[2], 'serial', argv[5]) - argv[5]
local ids, at = {}, 6
while at <= #argv do
  local fields, count, entry = tonumber(argv[at]), tonumber(argv[at + 1]), {'*'}
  for field = 1, fields do entry[2 * field] = argv[at + 1 + field] end
  entry[2 * fields + 2] = '_epoch'
  at = at + 2 + fields
  for _ = 1, count do
    serial = serial + 1
    for field = 1, fields do entry[2 * field + 1] = argv[at + field - 1] end
    entry[2 * fields + 3] = epoch .. '.' .. string.format('%.0f', serial)
    ids[#ids + 1] = call('XADD', KEYS[1], unpack(entry))
    at = at + fields
  end
end
call('HINCRBY', KEYS[2], 'accepted', argv[5])
return ids
"""
)

# Only an entry that is really deleted here is counted, so a second acknowledgement of it counts nothing.
# Another worker may have parked an entry that was taken for abandoned. ARGV: group, number of uncounted ids, the
# uncounted ids, the other ids.
ACK = f"""
local parked = redis.pcall('XPENDING', KEYS[1], '{PARKED}')
if parked.err or parked[1] == 0 then parked = nil end
local uncounted = tonumber(ARGV[2])
local done = 0
for at = 3, #ARGV, 1000 do
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, at, math.min(at + 999, #ARGV)))
  if parked then redis.call('XACK', KEYS[1], '{PARKED}', unpack(ARGV, at, math.min(at + 999, #ARGV))) end
end
for at = 3, 2 + uncounted do
  local deleted = redis.call('XDEL', KEYS[1], ARGV[at])
  done = done + deleted
  if deleted == 1 then redis.call('HINCRBY', KEYS[2], 'accepted', 1) end
end
for at = 3 + uncounted, #ARGV, 1000 do
  done = done + redis.call('XDEL', KEYS[1], unpack(ARGV, at, math.min(at + 999, #ARGV)))
end
return done
"""

# One entry whose lease ran out (ARGV 3, milliseconds), or that a dead consumer (ARGV 4) holds. XPENDING tells the
# delivery count, which XAUTOCLAIM does not. An entry that was deleted under us leaves the pending list for good.
RECLAIM = """
local found
if ARGV[4] == '' then
  found = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', 1)
else
  found = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[4])
end
if #found == 0 then return false end
local id, count = found[1][1], found[1][4]
local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], id)
if #claimed == 0 or not claimed[1] or not claimed[1][2] then
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then redis.call('XACK', KEYS[1], ARGV[1], id) end
  return {id, 0, {}}
end
return {id, count + 1, claimed[1][2]}
"""

# What a consumer holds and did not begin: as idle as an entry whose lease ran out (ARGV 3, milliseconds), so that the
# next one takes it at once, and with this delivery not counted. ARGV: group, consumer, lease, ids.
GIVE_BACK = """
local given = 0
for at = 4, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2])
  if #held == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at],
               'IDLE', ARGV[3], 'RETRYCOUNT', held[1][4] - 1, 'JUSTID')
    given = given + 1
  end
end
return given
"""

# XGROUP DELCONSUMER discards what is pending, so the check and the deletion are one call.
FORGET_CONSUMER = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if consumer[2] == ARGV[2] and consumer[4] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0
"""

# What waits for its source to be resumed. An entry that is parked stays where it is in the stream, under its id: only
# the group that has it pending changes, and with XCLAIM … FORCE that is refused neither by a full Redis nor half done.
# ARGV: group, then for each entry its source, its id, and how often it was delivered before.
PARK = f"""
local parked = 0
for at = 3, #ARGV, 3 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at + 1], ARGV[at + 1], 1, ARGV[2]) == 1 then
    local claimed = redis.call('XCLAIM', KEYS[1], '{PARKED}', ARGV[at], 0, ARGV[at + 1],
                               'RETRYCOUNT', ARGV[at + 2], 'FORCE', 'JUSTID')
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[at + 1])
    parked = parked + #claimed
  end
end
return parked
"""

# Which sources are paused, and up to ARGV 3 parked entries of sources that no longer are, which this consumer has
# from now on. ARGV: group, consumer, count.
LOOK = f"""
local paused, is, taken = redis.call('HKEYS', KEYS[3]), {{}}, {{}}
for _, source in ipairs(paused) do is[source] = true end
local parked = redis.pcall('XPENDING', KEYS[1], '{PARKED}')
if parked.err or parked[1] == 0 then return {{paused, taken}} end
for _, one in ipairs(parked[4]) do
  local room = tonumber(ARGV[3]) - #taken
  if room > 0 and not is[one[1]] then
    for _, held in ipairs(redis.call('XPENDING', KEYS[1], '{PARKED}', '-', '+', room, one[1])) do
      local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, held[1], 'RETRYCOUNT', held[4] + 1, 'FORCE')
      redis.call('XACK', KEYS[1], '{PARKED}', held[1])
      if claimed[1] and claimed[1][2] then taken[#taken + 1] = {{held[1], held[4] + 1, claimed[1][2]}} end
    end
  end
end
return {{paused, taken}}
"""

# How many entries are parked, by source, as a flat list.
PARKED_BY_SOURCE = f"""
local found, parked = {{}}, redis.pcall('XPENDING', KEYS[1], '{PARKED}')
if parked.err or parked[1] == 0 then return found end
for _, one in ipairs(parked[4]) do
  found[#found + 1] = one[1]
  found[#found + 1] = tonumber(one[2])
end
return found
"""

# The paused sources anew. The DEL comes first: after a write a script is not refused in a full Redis any more.
# ARGV: source, reason, …
SET_PAUSED = """
redis.call('DEL', KEYS[3])
for at = 1, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1]) end
return redis.call('HLEN', KEYS[3])
"""

# Where one entry is: its fields but the body, who holds it, for how long, how often delivered. ARGV: group, id.
FIND = f"""
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #found == 0 then return false end
local fields = {{}}
for at = 1, #found[1][2], 2 do
  if found[1][2][at] ~= 'body' then
    fields[#fields + 1] = found[1][2][at]
    fields[#fields + 1] = found[1][2][at + 1]
  end
end
local held, parked = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1), nil
if held.err or #held == 0 then parked = redis.pcall('XPENDING', KEYS[1], '{PARKED}', ARGV[2], ARGV[2], 1) end
if parked and not parked.err and #parked == 1 then return {{fields, parked[1], 1}} end
return {{fields, not held.err and held[1] or false, 0}}
"""

# The ids of the next entries, each with what names its page, as a flat list of four. ARGV: start, count.
NAMES = """
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local named = {source = '', item = '', url = ''}
  for at = 1, #entry[2], 2 do
    if named[entry[2][at]] then named[entry[2][at]] = entry[2][at + 1] end
  end
  found[#found + 1] = entry[1]
  found[#found + 1] = named.source
  found[#found + 1] = named.item
  found[#found + 1] = named.url
end
return found
"""

SNAPSHOT = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return {{false, 0, 0, 0, false, 0, 0}} end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
local in_flight = 0
if not pending.err then in_flight = pending[1] end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local parked, waiting = redis.pcall('XPENDING', KEYS[1], '{PARKED}'), 0
if not parked.err and parked[1] > 0 then
  for _, one in ipairs(parked[4]) do
    if redis.call('HEXISTS', KEYS[3], one[1]) == 1 then waiting = waiting + tonumber(one[2]) end
  end
end
return {{redis.call('HGET', KEYS[2], 'epoch'), tonumber(redis.call('HGET', KEYS[2], 'accepted') or 0),
        redis.call('XLEN', KEYS[1]), in_flight, first[1] and first[1][1] or false,
        tonumber(redis.call('HGET', KEYS[2], 'serial') or 0), waiting}}
"""
