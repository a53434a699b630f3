"""Everything that speaks to the page stream: a Redis stream, one consumer group, and the accepted counter.

Keys, all with one hash tag so that they share a slot: ``{ns}:pages`` is the stream, ``{ns}:pages:meta`` a hash
with ``epoch`` (a random value made with the stream), ``accepted`` (payloads taken in during that epoch) and ``serial``.
Each entry that is pushed through here carries the epoch and a serial number of its own, counted from 1, in a field
``_epoch`` (``<16 hex>.<serial>``): it says that the entry is counted, and a serial number that is neither in the stream
nor in the store names the payload that is missing. An entry without it came from a bare XADD and is counted when it
is acknowledged.

Needs Redis 6.2. Nothing here trims, and nothing runs inside MULTI: a full Redis refuses MULTI, but still lets
XREADGROUP, XCLAIM, XACK and XDEL pass.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import StreamFull, StreamUnavailable, TooLarge
from tasks.events import Event
from tasks.ports import Entry
from tasks.steps.page import Payload
from tasks.steps.payload import EPOCH_FIELD, encode_fields
from worker import stream_scripts
from worker.consumers import consumer_name, is_dead_neighbour

log = structlog.get_logger("penstock.stream")

GROUP = "penstock"

FULL_SHARE = 0.9  # of Redis' maxmemory; above it nothing is pushed
MEMORY_SECONDS = 0.5  # how long a look at Redis' memory counts

DISK_FULL = "Redis cannot write its file, its disk may be full: nothing is taken in; push the last pages again later"

_EPOCH = re.compile(rb"([0-9a-f]{16})(?:\.([0-9]{1,18}))?")  # entries of older versions have no serial number


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The stream's counters at one instant. ``epoch`` is None when there is no stream yet."""

    epoch: str | None
    accepted: int
    length: int
    pending: int
    first_id: str | None
    serial: int = 0  # the last one given


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
        if str(error).startswith("MISCONF"):
            raise StreamFull(DISK_FULL) from error
        if "READONLY" in str(error):
            raise StreamUnavailable(f"Redis takes no writes: {error}") from error
        if "FULL the stream" in str(error):
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
        self._memory_known_until = 0.0
        self.consumer = consumer_name()

    def _script(self, source: str, *args: Any) -> Any:
        return self._redis.eval(source, 2, self._key, self._meta, *args)

    # --- producing ----------------------------------------------------------------------------------------------

    def push(self, payloads: Sequence[Payload], *, compress: bool = False) -> list[str]:
        """Append payloads in one atomic call: all of them, or none.

        Returns the entry ids, in order. Raises ``TooLarge`` for a body above the limit, ``StreamFull`` when the
        stream stands at its high-water mark or Redis is out of memory or of disk, ``StreamUnavailable`` when Redis
        does not answer (the payloads may have arrived then; pushing them again is harmless).
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
            self._require_memory()
            head = (GROUP, secrets.token_hex(8), self._high_water)
            ids = self._script(stream_scripts.PUSH, *head, *args)
            self._require_disk()
        return [entry_id.decode() for entry_id in ids]

    def is_out_of_memory(self) -> bool:
        """Tell whether Redis is at its memory limit, where it refuses every command that may need more."""
        refused = self.refusal()
        return refused is not None and refused.message != DISK_FULL

    def refusal(self) -> StreamFull | None:
        """Return why Redis takes no writes just now, its memory or its disk being full; None when it does."""
        try:
            with _mapped():
                self._redis.set(f"{self._key}:probe", b"1", px=1000)
        except StreamFull as error:
            return error
        return None

    def _require_disk(self) -> None:
        """Refuse to call pushed what Redis could not write to its file.

        Redis writes the file before it answers, but answers the same when that failed; only the next command is
        refused. Asking in the same pipeline would be too early. (A write that Redis puts off because its disk is busy
        may still fail after this; only WAITAOF of Redis 7.2 or appendfsync always close that gap.)
        """
        state = self._redis.info("persistence")
        if state.get("aof_enabled") and state.get("aof_last_write_status") != "ok":
            raise StreamFull(DISK_FULL)

    def _require_memory(self) -> None:
        """Refuse while Redis is nearly full. At its very limit Celery's own messages would not pass any more."""
        if time.monotonic() < self._memory_known_until:
            return
        info = self._redis.info("memory")
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        if limit and used > FULL_SHARE * limit:
            raise StreamFull(f"Redis uses {used:,} of its {limit:,} bytes of memory; push again later")
        self._memory_known_until = time.monotonic() + MEMORY_SECONDS

    # --- consuming ----------------------------------------------------------------------------------------------

    def epoch(self) -> str:
        """Return the stream's epoch; make stream, group and epoch where they are missing."""
        with _mapped():
            epoch = cast("bytes", self._script(stream_scripts.ENSURE_GROUP, GROUP, secrets.token_hex(8))).decode()
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

        Call it with nothing in hand: what this very process still holds then, it never saw or could not finish, and is
        taken again at once. One at a time, so that a page that kills its process cannot raise the delivery count of its
        neighbours.
        """
        with _mapped():
            try:
                for dead in self._abandoned():
                    entry = self._reclaimed(self._script(stream_scripts.RECLAIM, GROUP, self.consumer, 0, dead))
                    if entry is not None:
                        return entry
                return self._reclaimed(self._script(stream_scripts.RECLAIM, GROUP, self.consumer, self._lease_ms, ""))
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
            epoch, serial = _counted_in(fields)
            if epoch is None:
                epoch = present = present or self.epoch()
                self._uncounted.add(name)
            entries.append(Entry(name, epoch, fields, deliveries, serial))
        return entries

    def ack(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and delete entries whose outcome is committed. Safe to call twice."""
        if not entry_ids:
            return
        uncounted = [name for name in entry_ids if name in self._uncounted]
        counted = [name for name in entry_ids if name not in self._uncounted]
        with _mapped():
            self._script(stream_scripts.ACK, GROUP, len(uncounted), *uncounted, *counted)
        self._uncounted.difference_update(uncounted)

    def give_back(self, entry_ids: Sequence[str]) -> None:
        """Let go of entries that were read and not begun: the next reclaim of any worker takes them, uncounted."""
        if entry_ids:
            with _mapped():
                self._script(stream_scripts.GIVE_BACK, GROUP, self.consumer, self._lease_ms, *entry_ids)

    # --- looking ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the counters of one instant."""
        with _mapped():
            epoch, accepted, length, pending, first, serial = self._script(stream_scripts.SNAPSHOT, GROUP)
        return Snapshot(
            epoch.decode() if epoch else None, accepted, length, pending, first.decode() if first else None, serial
        )

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
                total += sum(_counted_in(fields)[0] is None for _, fields in batch)
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

    def _abandoned(self) -> list[str]:
        """Name the consumers with pending entries that nobody works on: our own, and dead ones of this machine."""
        return [
            name
            for name, pending, _ in self._consumers()
            if pending and (name == self.consumer or is_dead_neighbour(name))
        ]

    def forget_dead_consumers(self, idle_ms: int = 3_600_000) -> int:
        """Delete consumers with nothing pending that are dead here, or were not heard of for ``idle_ms``."""
        forgotten = 0
        with _mapped():
            for name, pending, idle in self._consumers():
                if not pending and name != self.consumer and (is_dead_neighbour(name) or idle > idle_ms):
                    forgotten += self._script(stream_scripts.FORGET_CONSUMER, GROUP, name)
        return forgotten


def _counted_in(fields: Mapping[bytes, bytes]) -> tuple[str | None, int | None]:
    """Return the epoch that an entry was counted in, and its serial number; None for what a bare XADD made."""
    found = _EPOCH.fullmatch(fields.get(EPOCH_FIELD.encode(), b""))
    if found is None:
        return None, None
    return found[1].decode(), int(found[2]) if found[2] else None


def _pairs(chunk: Any) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
    return [chunk] if isinstance(chunk, tuple) else list(chunk)
