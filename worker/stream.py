"""Everything that speaks to the page stream: a Redis stream, one consumer group, and the accepted counter.

Keys, all with one hash tag so that they share a slot: ``{ns}:pages`` is the stream, ``{ns}:pages:meta`` a hash
with ``epoch`` (a random value made with the stream), ``accepted`` (payloads taken in during that epoch) and ``serial``,
``{ns}:pages:paused`` a hash of the paused sources, each with the reason: a copy of what the store says.
Each entry that is pushed through here carries the epoch and a serial number of its own, counted from 1, in a field
``_epoch`` (``<16 hex>.<serial>``): it says that the entry is counted, and a serial number that is neither in the stream
nor in the store names the payload that is missing. An entry without it came from a bare XADD and is counted when it
is acknowledged.

An entry of a paused source is parked: it stays in the stream under its id, so that the ledger, the high-water mark and
the store's inbox know it as before, but it is pending in a second group, in the name of its source, where no worker
looks until the source is resumed.

Needs Redis 6.2. Nothing here trims, and nothing runs inside MULTI: a full Redis refuses MULTI, but still lets
XREADGROUP, XCLAIM, XACK and XDEL pass.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog

from tasks.errors import StreamFull
from tasks.events import Event
from tasks.ports import Entry
from tasks.steps.page import Payload
from tasks.steps.payload import EPOCH_FIELD, source_of
from worker import stream_look, stream_scripts
from worker.consumers import consumer_name, is_dead_neighbour
from worker.redis_link import DISK_FULL, connect, mapped, run_script
from worker.stream_look import Held
from worker.stream_push import Intake, Push
from worker.stream_scripts import GROUP

__all__ = ["DISK_FULL", "GROUP", "Held", "PageStream", "Place", "Snapshot", "connect"]

log = structlog.get_logger("penstock.stream")

LOOK_SECONDS = 1.0  # how long it takes to notice that a source was paused or resumed
LOOKED_AT = 100  # entries of one call; Redis copies their bodies for itself
MOST_LOOKED_AT = 20_000
MOST_HELD = 10_000  # entries that one process has in hand

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
    parked: int = 0  # of ``length``, what waits for a paused source to be resumed


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry is that has no outcome yet."""

    fields: Mapping[bytes, bytes]  # without the body
    holder: str | None  # the consumer that has it, for a parked one the source; None: nobody has read it
    idle_ms: int
    deliveries: int
    parked: bool


class PageStream:
    """The page stream, as producer and as consumer. Opens its connection with the first call."""

    def __init__(self, client: redis.Redis, *, namespace: str, high_water: int, lease_ms: int, max_body: int) -> None:
        self._redis: Any = client  # redis-py's types promise awaitables as well; each reply is narrowed here
        self._key = f"{{{namespace}}}:pages"
        self._keys = (self._key, f"{self._key}:meta", f"{self._key}:paused")
        self._intake = Intake(client, self._keys, high_water=high_water, max_body=max_body)
        self._lease_ms = lease_ms
        self._uncounted: set[str] = set()
        self._epoch: str | None = None
        self._abandoned: list[str] = []
        self._paused_sources: frozenset[str] = frozenset()
        self._look_at = 0.0
        self.consumer = consumer_name()

    def _script(self, text: str, *args: Any) -> Any:
        return run_script(self._redis, text, self._keys, *args)

    # --- producing ----------------------------------------------------------------------------------------------

    def push(self, payloads: Sequence[Payload], *, compress: bool = True, even_paused: bool = False) -> list[str]:
        """Append payloads in one atomic call: all of them, or none.

        With ``compress`` a body is sent as zstd where that is smaller. Returns the entry ids, in order. Raises
        ``TooLarge`` for a body above the limit, ``StreamFull`` when the stream stands at its high-water mark or Redis
        is out of memory or of disk, ``StreamUnavailable`` when Redis does not answer (the payloads may have arrived
        then; pushing them again is harmless). Raises ``SourcePaused`` when the source of one is paused, unless
        ``even_paused``.
        """
        return self._intake.push(payloads, compress=compress, even_paused=even_paused)

    def push_each(
        self,
        batches: Iterable[Sequence[Payload]],
        *,
        compress: bool = True,
        otherwise: Push,
        taken: Callable[[list[str]], None],
    ) -> None:
        """Push batch after batch, each atomically: while Redis takes one in, the next is read and encoded.

        A batch is sent when the one before is in the stream; ``taken`` is told the entry ids of each. What is refused,
        the stream being full or a source paused, is given to ``otherwise`` to be pushed. Raises what that and
        ``batches`` raise, and else as ``push`` does.
        """
        self._intake.push_each(batches, compress=compress, otherwise=otherwise, taken=taken)

    def has_room(self) -> bool:
        """Tell whether the stream is below its high-water mark: the cheap question, before a batch is packed again."""
        return self._intake.has_room()

    def is_out_of_memory(self) -> bool:
        """Tell whether Redis is at its memory limit, where it refuses every command that may need more."""
        refused = self.refusal()
        return refused is not None and refused.message != DISK_FULL

    def refusal(self) -> StreamFull | None:
        """Return why Redis takes no writes just now, its memory or its disk being full; None when it does."""
        try:
            with mapped():
                self._redis.set(f"{self._key}:probe", b"1", px=1000)
        except StreamFull as error:
            return error
        return None

    # --- consuming ----------------------------------------------------------------------------------------------

    def epoch(self) -> str:
        """Return the stream's epoch; make stream, group and epoch where they are missing."""
        with mapped():
            made, paused = self._script(stream_scripts.ENSURE_GROUP, GROUP, secrets.token_hex(8))
        epoch = cast("bytes", made).decode()
        self._paused_sources = frozenset(source.decode(errors="replace") for source in paused)
        if self._epoch is not None and epoch != self._epoch:
            log.error(Event.STREAM_EPOCH_LOST, epoch=epoch, previous=self._epoch)
        self._epoch = epoch
        return epoch

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """Return up to ``count`` entries: parked ones of sources that were resumed, else new ones.

        Waits at most ``block_ms`` for the first one.
        """
        with mapped():
            try:
                if resumed := self._look(count):
                    return resumed
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

    def _look(self, count: int) -> list[Entry]:
        """Now and then, see which sources are paused, and take over what is parked of those that no longer are."""
        if time.monotonic() < self._look_at:
            return []
        paused, rows = self._script(stream_scripts.LOOK, GROUP, self.consumer, count)
        self._paused_sources = frozenset(source.decode(errors="replace") for source in paused)
        if not rows:
            self._look_at = time.monotonic() + LOOK_SECONDS
        return self._entries([(entry_id, _fields(flat), deliveries) for entry_id, deliveries, flat in rows])

    def reclaim(self, *, own: bool = True) -> Entry | None:
        """Take over one entry: first of a process of this machine that has died, then one past its lease.

        With ``own``, call it with nothing in hand: what this very process still holds then, it never saw or could not
        finish, and is taken again at once. One at a time, so that a page that kills its process cannot raise the
        delivery count of those behind it.
        """
        with mapped():
            try:
                if own:
                    self._abandoned = self._holding_for_nobody()
                for name in tuple(self._abandoned):
                    reply = self._script(stream_scripts.RECLAIM, GROUP, self.consumer, 0, name)
                    if not reply or name == self.consumer:  # what is its from now on is what we have in hand
                        self._abandoned.remove(name)
                    if (entry := self._reclaimed(reply)) is not None:
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
        return self._entries([(entry_id, _fields(flat), deliveries)])[0]

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
        with mapped():
            self._script(stream_scripts.ACK, GROUP, len(uncounted), *uncounted, *counted)
        self._uncounted.difference_update(uncounted)

    def give_back(self, entry_ids: Sequence[str]) -> None:
        """Let go of entries that were read and not begun: the next reclaim of any worker takes them, uncounted."""
        if entry_ids:
            with mapped():
                self._script(stream_scripts.GIVE_BACK, GROUP, self.consumer, self._lease_ms, *entry_ids)

    def let_go(self) -> None:
        """Give back all that this process holds; after an answer that was lost it may hold what it never saw."""
        with mapped():
            try:
                held = self._redis.xpending_range(self._key, GROUP, "-", "+", MOST_HELD, self.consumer)
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                return
        self.give_back([row["message_id"].decode() for row in held])

    # --- paused sources -----------------------------------------------------------------------------------------

    def of_paused(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of the entries whose source is paused, as far as the last read knew."""
        if not self._paused_sources:
            return []
        return [entry for entry in entries if source_of(entry.fields) in self._paused_sources]

    def park(self, entries: Sequence[Entry]) -> None:
        """Put entries aside until their sources are resumed; this delivery of them is not counted."""
        if entries:
            args = [arg for one in entries for arg in (source_of(one.fields), one.id, one.deliveries - 1)]
            with mapped():
                self._script(stream_scripts.PARK, GROUP, self.consumer, *args)
            self._uncounted.difference_update(one.id for one in entries)

    def set_paused(self, reasons: Mapping[str, str]) -> None:
        """Let Redis know which sources are paused, and why: these and no others."""
        with mapped():
            self._script(stream_scripts.SET_PAUSED, *(word for pair in sorted(reasons.items()) for word in pair))
        self._paused_sources, self._look_at = frozenset(reasons), 0.0

    def parked(self) -> dict[str, int]:
        """Return how many entries are parked, by source; those of a source just resumed until a worker takes them."""
        with mapped():
            flat = self._script(stream_scripts.PARKED_BY_SOURCE)
        return {source.decode(errors="replace"): int(n) for source, n in _fields(flat).items()}

    # --- looking ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the counters of one instant."""
        with mapped():
            epoch, accepted, length, pending, first, *more = self._script(stream_scripts.SNAPSHOT, GROUP)
        return Snapshot(
            epoch.decode() if epoch else None, accepted, length, pending, first.decode() if first else None, *more
        )

    def find(self, entry_id: str) -> Place | None:
        """Tell where an entry of the stream is; None when it is not, or no longer, in it."""
        with mapped():
            reply = self._script(stream_scripts.FIND, GROUP, entry_id)
        if not reply:
            return None
        flat, held, parked = reply
        _, holder, idle, deliveries = held or (b"", None, 0, 0)
        return Place(_fields(flat), holder and holder.decode(errors="replace"), idle, deliveries, bool(parked))

    def named(self, key: str) -> list[str]:
        """Return the entries of the page that SOURCE/ITEM or a URL names, among the oldest ``MOST_LOOKED_AT``.

        Reads them all: only for what the store does not know.
        """
        found, start = [], "-"
        for _ in range(MOST_LOOKED_AT // LOOKED_AT):
            with mapped():
                names = self._script(stream_scripts.NAMES, start, LOOKED_AT)
            if not names:
                break
            for entry, source, item, url in zip(*(iter(names),) * 4, strict=True):
                if key.encode() in {b"%s/%s" % (source, item or url), url}:
                    found.append(entry.decode())
            start = f"({names[-4].decode()}"
        return found

    def accepted(self) -> tuple[str, int]:
        """Return the epoch and how many payloads were accepted in it; makes the stream where it is missing."""
        epoch = self.epoch()
        return epoch, self.snapshot().accepted

    def raise_accepted(self, epoch: str, accepted: int) -> None:
        """Have the epoch count no fewer payloads than were noted of it; its serial numbers go on behind them."""
        with mapped():
            self._script(stream_scripts.RAISE_ACCEPTED, epoch, accepted)

    def first_id(self) -> str | None:
        """Return the id of the oldest entry; None when there is none."""
        return self.snapshot().first_id

    def pending_ids(self, limit: int = 10_000) -> list[str]:
        """Return the ids that some consumer holds, oldest first."""
        with mapped():
            rows = self._redis.xpending_range(self._key, GROUP, min="-", max="+", count=limit)
        return [row["message_id"].decode() for row in rows]

    def numbers(self) -> Iterator[tuple[str, str | None, int | None]]:
        """Yield (entry, epoch, serial number) of each entry; Nones for a bare XADD. Reads the whole stream."""
        with mapped():
            for name, told in stream_look.numbers(self._redis, self._key):
                yield name, *_counted_in({EPOCH_FIELD.encode(): told})

    def overdue(self, limit: int = 1000) -> list[Held]:
        """Return entries that were not acknowledged within their lease, oldest first."""
        return self._held(idle_ms=self._lease_ms, limit=limit)

    def held(self, limit: int = 1000) -> list[Held]:
        """Return entries that some consumer has, oldest first."""
        return self._held(idle_ms=None, limit=limit)

    def _held(self, *, idle_ms: int | None, limit: int) -> list[Held]:
        with mapped():
            try:
                return stream_look.held(self._redis, self._key, idle_ms=idle_ms, limit=limit)
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                return []

    def parked_again(self) -> list[str]:
        """Return parked entries that were delivered before, and so may have their outcome already."""
        with mapped():
            return stream_look.parked_again(self._redis, self._key) if self.parked() else []

    def uncounted(self) -> int:
        """Count the waiting entries of producers that use a bare XADD. Reads the whole stream: only to explain."""
        return sum(epoch is None for _, epoch, _ in self.numbers())

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

    def _holding_for_nobody(self) -> list[str]:
        """Name who has entries that nobody works on: first this very process, then dead ones of this machine."""
        names = [name for name, pending, _ in self._consumers() if pending]
        own = [name for name in names if name == self.consumer]
        return own + [name for name in names if name != self.consumer and is_dead_neighbour(name)]

    def forget_dead_consumers(self, idle_ms: int = 3_600_000) -> int:
        """Delete consumers with nothing pending that are dead here, or were not heard of for ``idle_ms``."""
        forgotten = 0
        with mapped():
            for name, pending, idle in self._consumers():
                if not pending and name != self.consumer and (is_dead_neighbour(name) or idle > idle_ms):
                    forgotten += self._script(stream_scripts.FORGET_CONSUMER, GROUP, name)
        return forgotten


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _counted_in(fields: Mapping[bytes, bytes]) -> tuple[str | None, int | None]:
    """Return the epoch that an entry was counted in, and its serial number; None for what a bare XADD made."""
    found = _EPOCH.fullmatch(fields.get(EPOCH_FIELD.encode(), b""))
    if found is None:
        return None, None
    return found[1].decode(), int(found[2]) if found[2] else None


def _pairs(chunk: Any) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
    return [chunk] if isinstance(chunk, tuple) else list(chunk)
