"""The Lua scripts of the page stream. Each takes KEYS stream and meta; what ARGV holds stands above it."""

# Makes stream, group and epoch where they are missing. The epoch is renewed only with the stream itself: a group
# that somebody destroyed is made again at 0 under the old epoch, and the inbox passes over what was delivered.
ENSURE = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'epoch', ARGV[2], 'accepted', 0)
end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
local epoch = redis.call('HGET', KEYS[2], 'epoch')
"""

ENSURE_GROUP = ENSURE + "return epoch"

# ARGV: group, epoch if new, high-water mark, then for each entry its number of field arguments and the arguments.
PUSH = (
    "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then return redis.error_reply('FULL the stream is full') end\n"
    "local epoch = redis.call('HGET', KEYS[2], 'epoch')\n"
    "if not epoch or redis.call('EXISTS', KEYS[1]) == 0 then\n"
    + ENSURE.replace("local epoch", "epoch")
    + """
end
local ids = {}
local at = 4
while at <= #ARGV do
  local n = tonumber(ARGV[at])
  local entry = {unpack(ARGV, at + 1, at + n)}
  entry[n + 1], entry[n + 2] = '_epoch', epoch .. '.' .. redis.call('HINCRBY', KEYS[2], 'serial', 1)
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', unpack(entry))
  redis.call('HINCRBY', KEYS[2], 'accepted', 1)
  at = at + n + 1
end
return ids
"""
)

# Only an entry that is really deleted here is counted, so a second acknowledgement of it counts nothing.
# ARGV: group, number of uncounted ids, the uncounted ids, the other ids.
ACK = """
local uncounted = tonumber(ARGV[2])
local done = 0
for at = 3, #ARGV, 1000 do
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, at, math.min(at + 999, #ARGV)))
end
for at = 3, #ARGV do
  local deleted = redis.call('XDEL', KEYS[1], ARGV[at])
  done = done + deleted
  if deleted == 1 and at < 3 + uncounted then redis.call('HINCRBY', KEYS[2], 'accepted', 1) end
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

SNAPSHOT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {false, 0, 0, 0, false, 0} end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
local in_flight = 0
if not pending.err then in_flight = pending[1] end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {redis.call('HGET', KEYS[2], 'epoch'), tonumber(redis.call('HGET', KEYS[2], 'accepted') or 0),
        redis.call('XLEN', KEYS[1]), in_flight, first[1] and first[1][1] or false,
        tonumber(redis.call('HGET', KEYS[2], 'serial') or 0)}
"""
