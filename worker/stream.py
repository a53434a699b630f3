"""Everything that speaks to the page stream: a Redis stream, one consumer group, and the accepted counter.

Keys, all with one hash tag so that they share a slot: ``{ns}:pages`` is the stream, ``{ns}:pages:meta`` a hash
with ``epoch`` (a random value made with the stream) and ``accepted`` (payloads taken in during that epoch).
Each entry that is pushed through here carries the epoch in a field ``_epoch``: it says that the entry is counted.
An entry without it came from a bare XADD and is counted when it is acknowledged.

Needs Redis 6.2. Nothing here trims, and nothing runs inside MULTI: a full Redis refuses MULTI, but still lets
XREADGROUP, XCLAIM, XACK and XDEL pass.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import StreamFull, StreamUnavailable, TooLarge
from tasks.events import Event
from tasks.ports import Entry
from tasks.steps.page import Payload
from tasks.steps.payload import encode_fields

log = structlog.get_logger("penstock.stream")

GROUP = "penstock"

_EPOCH = re.compile(rb"[0-9a-f]{16}")

# Makes stream, group and epoch where they are missing. The epoch is renewed only with the stream itself: a group
# that somebody destroyed is made again at 0 under the old epoch, and the inbox passes over what was delivered.
_ENSURE = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'epoch', ARGV[2], 'accepted', 0)
end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
local epoch = redis.call('HGET', KEYS[2], 'epoch')
"""

_ENSURE_GROUP = _ENSURE + "return epoch"

# ARGV: group, epoch if new, high-water mark, then for each entry its number of field arguments and the arguments.
_PUSH = (
    "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then return redis.error_reply('FULL the stream is full') end\n"
    "local epoch = redis.call('HGET', KEYS[2], 'epoch')\n"
    "if not epoch or redis.call('EXISTS', KEYS[1]) == 0 then\n"
    + _ENSURE.replace("local epoch", "epoch")
    + """
end
local ids = {}
local at = 4
while at <= #ARGV do
  local n = tonumber(ARGV[at])
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', '_epoch', epoch, unpack(ARGV, at + 1, at + n))
  at = at + n + 1
end
redis.call('HINCRBY', KEYS[2], 'accepted', #ids)
return ids
"""
)

# Only an entry that is really deleted here is counted, so a second acknowledgement of it counts nothing.
# ARGV: group, number of uncounted ids, the uncounted ids, the other ids.
_ACK = """
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
_RECLAIM = """
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

# XGROUP DELCONSUMER discards what is pending, so the check and the deletion are one call.
_FORGET_CONSUMER = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if consumer[2] == ARGV[2] and consumer[4] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0
"""

_SNAPSHOT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {false, 0, 0, 0, false} end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
local in_flight = 0
if not pending.err then in_flight = pending[1] end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {redis.call('HGET', KEYS[2], 'epoch'), tonumber(redis.call('HGET', KEYS[2], 'accepted') or 0),
        redis.call('XLEN', KEYS[1]), in_flight, first[1] and first[1][1] or false}
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The stream's counters at one instant. ``epoch`` is None when there is no stream yet."""

    epoch: str | None
    accepted: int
    length: int
    pending: int
    first_id: str | None


def connect(url: str) -> redis.Redis:
    """Open a client that never retries by itself: a silent retry of XADD doubles a page, one of a read hangs."""
    return redis.Redis.from_url(
        url,
        socket_timeout=10,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
        client_name="penstock",
    )


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn Redis' errors into ours."""
    try:
        yield
    except redis.OutOfMemoryError as error:
        message = "Redis is out of memory and refuses new pages; push again when the workers have caught up"
        raise StreamFull(message) from error
    except redis.ResponseError as error:
        if str(error).startswith("FULL"):
            raise StreamFull("the stream is above its high-water mark; push again later") from error
        if "OOM" in str(error):
            message = "Redis is out of memory and refuses new pages; push again when the workers have caught up"
            raise StreamFull(message) from error
        raise
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise StreamUnavailable(f"Redis does not answer: {error}") from error


class PageStream:
    """The page stream, as producer and as consumer. Opens its connection with the first call."""

    def __init__(self, client: redis.Redis, *, namespace: str, high_water: int, lease_ms: int, max_body: int) -> None:
        self._redis: Any = client  # redis-py's types promise awaitables as well; each reply is narrowed here
        self._key = f"{{{namespace}}}:pages"
        self._meta = f"{self._key}:meta"
        self._high_water = high_water
        self._lease_ms = lease_ms
        self._max_body = max_body
        self._uncounted: set[str] = set()
        self._epoch: str | None = None
        self.consumer = consumer_name()

    def _script(self, source: str, *args: Any) -> Any:
        return self._redis.eval(source, 2, self._key, self._meta, *args)

    # --- producing ----------------------------------------------------------------------------------------------

    def push(self, payloads: Sequence[Payload], *, compress: bool = False) -> list[str]:
        """Append payloads in one atomic call: all of them, or none.

        Returns the entry ids, in order. Raises ``TooLarge`` for a body above the limit, ``StreamFull`` when the
        stream stands at its high-water mark or Redis is out of memory, ``StreamUnavailable`` when Redis does not
        answer (the payloads may have arrived then; pushing them again is harmless).
        """
        args: list[Any] = []
        for payload in payloads:
            if len(payload.body) > self._max_body:
                message = f"the body has {len(payload.body)} bytes, the limit is {self._max_body}"
                raise TooLarge(message, source=payload.source, item=payload.item)
            fields = encode_fields(payload, compress=compress)
            args.append(2 * len(fields))
            for name, value in fields.items():
                args += (name, value)
        if not args:
            return []
        with _mapped():
            ids = self._script(_PUSH, GROUP, secrets.token_hex(8), self._high_water, *args)
        return [entry_id.decode() for entry_id in ids]

    # --- consuming ----------------------------------------------------------------------------------------------

    def epoch(self) -> str:
        """Return the stream's epoch; make stream, group and epoch where they are missing."""
        with _mapped():
            epoch = cast("bytes", self._script(_ENSURE_GROUP, GROUP, secrets.token_hex(8))).decode()
        if self._epoch is not None and epoch != self._epoch:
            log.error(Event.STREAM_EPOCH_LOST, epoch=epoch, previous=self._epoch)
        self._epoch = epoch
        return epoch

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """Return up to ``count`` new entries, waiting at most ``block_ms`` for the first one."""
        with _mapped():
            try:
                reply = self._readgroup(count, block_ms)
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                self.epoch()
                reply = self._readgroup(count, block_ms)
        return self._entries([(entry_id, fields, 1) for entry_id, fields in reply])

    def _readgroup(self, count: int, block_ms: int) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
        reply = self._redis.xreadgroup(GROUP, self.consumer, {self._key: ">"}, count=count, block=block_ms)
        if isinstance(reply, dict):  # RESP3
            return [pair for batch in reply.values() for chunk in batch for pair in _pairs(chunk)]
        return [pair for _, batch in reply or () for pair in batch]

    def reclaim(self) -> Entry | None:
        """Take over one entry: first of a process of this machine that has died, then one past its lease.

        One at a time, so that a page that kills its process cannot raise the delivery count of its neighbours.
        """
        with _mapped():
            try:
                for dead in self._dead_neighbours():
                    entry = self._reclaimed(self._script(_RECLAIM, GROUP, self.consumer, 0, dead))
                    if entry is not None:
                        return entry
                return self._reclaimed(self._script(_RECLAIM, GROUP, self.consumer, self._lease_ms, ""))
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                return None

    def _reclaimed(self, reply: Any) -> Entry | None:
        if not reply or not reply[1]:
            return None
        entry_id, deliveries, flat = reply
        return self._entries([(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)), deliveries)])[0]

    def _entries(self, rows: Sequence[tuple[bytes, Mapping[bytes, bytes], int]]) -> list[Entry]:
        """Name the epoch of each entry: its own, or for a bare XADD, which is not counted yet, the present one."""
        entries, present = [], ""
        for entry_id, fields, deliveries in rows:
            name = entry_id.decode()
            epoch = _epoch_in(fields)
            if epoch is None:
                epoch = present = present or self.epoch()
                self._uncounted.add(name)
            entries.append(Entry(name, epoch, fields, deliveries))
        return entries

    def ack(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and delete entries whose outcome is committed. Safe to call twice."""
        if not entry_ids:
            return
        uncounted = [name for name in entry_ids if name in self._uncounted]
        counted = [name for name in entry_ids if name not in self._uncounted]
        with _mapped():
            self._script(_ACK, GROUP, len(uncounted), *uncounted, *counted)
        self._uncounted.difference_update(uncounted)

    # --- looking ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the counters of one instant."""
        with _mapped():
            epoch, accepted, length, pending, first = self._script(_SNAPSHOT, GROUP)
        return Snapshot(epoch.decode() if epoch else None, accepted, length, pending, first.decode() if first else None)

    def accepted(self) -> tuple[str, int]:
        """Return the epoch and how many payloads were accepted in it; makes the stream where it is missing."""
        epoch = self.epoch()
        return epoch, self.snapshot().accepted

    def pending_ids(self, limit: int = 10_000) -> list[str]:
        """Return the ids that some consumer holds, oldest first."""
        with _mapped():
            rows = self._redis.xpending_range(self._key, GROUP, min="-", max="+", count=limit)
        return [row["message_id"].decode() for row in rows]

    def uncounted(self) -> int:
        """Count the waiting entries of producers that use a bare XADD. Reads the whole stream: only to explain."""
        total, start = 0, "-"
        with _mapped():
            while batch := self._redis.xrange(self._key, min=start, count=500):
                total += sum(_epoch_in(fields) is None for _, fields in batch)
                start = f"({batch[-1][0].decode()}"
        return total

    def oldest_age_ms(self, now_ms: int) -> int | None:
        """Return how long the oldest entry has been in the stream; None when it is empty."""
        first = self.snapshot().first_id
        return None if first is None else max(0, now_ms - int(first.split("-")[0]))

    # --- keeping tidy -------------------------------------------------------------------------------------------

    def _consumers(self) -> list[tuple[str, int, int]]:
        """Return (name, pending, idle milliseconds) of each consumer."""
        try:
            rows = self._redis.xinfo_consumers(self._key, GROUP)
        except redis.ResponseError:  # no stream or no group yet
            return []
        return [(row["name"].decode(), row["pending"], row["idle"]) for row in rows]

    def _dead_neighbours(self) -> list[str]:
        """Name the consumers with pending entries whose process ran on this machine and is gone."""
        return [name for name, pending, _ in self._consumers() if pending and is_dead_neighbour(name)]

    def forget_dead_consumers(self, idle_ms: int = 3_600_000) -> int:
        """Delete consumers with nothing pending that are dead here, or were not heard of for ``idle_ms``."""
        forgotten = 0
        with _mapped():
            for name, pending, idle in self._consumers():
                if not pending and name != self.consumer and (is_dead_neighbour(name) or idle > idle_ms):
                    forgotten += self._script(_FORGET_CONSUMER, GROUP, name)
        return forgotten


def _epoch_in(fields: Mapping[bytes, bytes]) -> str | None:
    """Return the epoch that an entry was counted in; None for an entry that a bare XADD made."""
    value = fields.get(b"_epoch", b"")
    return value.decode() if _EPOCH.fullmatch(value) else None


def _pairs(chunk: Any) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
    return [chunk] if isinstance(chunk, tuple) else list(chunk)


def consumer_name() -> str:
    """Name this process so that another one of the same machine can tell whether it still lives.

    ``host|pid namespace|pid|start time``: a pid alone may be used again, and means nothing in another container.
    """
    pid = os.getpid()
    return f"{socket.gethostname()}|{_pid_namespace()}|{pid}|{_start_time(pid)}"


def is_dead_neighbour(consumer: str) -> bool:
    """Tell whether the consumer is a process of this machine that has ended; False when we cannot know."""
    parts = consumer.rsplit("|", 3)
    if len(parts) != 4 or parts[:2] != [socket.gethostname(), _pid_namespace()] or parts[1] == "?":  # noqa: PLR2004 (four parts)
        return False
    return not parts[2].isdigit() or _start_time(int(parts[2])) != parts[3]


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:  # not Linux
        return "?"


def _start_time(pid: int) -> str:
    """Return the process' start in clock ticks since boot (field 22 of proc(5) stat), or "gone"."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "gone"
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[0] == "Z" else fields[19]
