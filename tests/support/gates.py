"""Host gates of one namespace, as several workers have them, and time that passes without waiting."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis

from tasks.fetch_ports import Answered, Grant, Slot, SlotEnd, Wanted
from worker.host_gate import HostGate
from worker.redis_link import connect

SECOND = 1_000_000
HOST = "quay.example"
HORIZON = 5 * SECOND
LEASE = 60 * SECOND

_TIMES = ("start", "slowed", "open", "probe", "paused")
_numbers = itertools.count()


def now_us() -> int:
    """Return the time on this machine's clock, which is that of Redis too."""
    return time.time_ns() // 1000


def wanted(count: int = 1, delay: float = 1.0, concurrency: int = 100, until: int = 0, host: str = HOST) -> Wanted:
    """Return a wish; the delay is in seconds."""
    return Wanted(host, count, round(delay * SECOND), concurrency, until)


class Gates:
    """The gates of one namespace."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client  # redis-py's types promise awaitables as well
        self.namespace = f"gate-{os.getpid()}-{next(_numbers)}"

    def open(self, *, now: Callable[[], int] = now_us, lease: int = LEASE, draw: float = 0.0) -> HostGate:
        """Return a gate as another worker has it."""
        return HostGate(self.client, self.namespace, lease_us=lease, now_us=now, draw=lambda: draw)

    def keys(self) -> set[str]:
        """Return the names of all keys, without the namespace."""
        found = self.client.keys(f"{{{self.namespace}}}:*")
        return {key.decode().partition("}:")[2] for key in found}

    def key(self, name: str) -> str:
        """Return the whole name of a key."""
        return f"{{{self.namespace}}}:{name}"

    def flush(self) -> None:
        """Forget all, as FLUSHALL does."""
        for name in self.keys():
            self.client.delete(self.key(name))

    def sleep(self, microseconds: int, slots: Sequence[Slot] = ()) -> list[Slot]:
        """Let time pass: make all that is remembered so much older. Return the slots as they are then."""
        for name in self.keys():
            if name == "hosts:since":
                self.client.decrby(self.key(name), microseconds)
            elif name.startswith("host:"):
                for field in set(_TIMES) & {field.decode() for field in self.client.hkeys(self.key(name))}:
                    self.client.hincrby(self.key(name), field, -microseconds)
            else:
                held = self.client.zrange(self.key(name), 0, -1, withscores=True)
                self.client.delete(self.key(name))
                for token, ends in held:
                    self.client.zadd(self.key(name), {_older(token.decode(), microseconds): ends - microseconds})
        return [
            replace(slot, token=_older(slot.token, microseconds), start=slot.start - microseconds) for slot in slots
        ]


def _older(token: str, microseconds: int) -> str:
    nonce, serial, start, before, delay = token.split(":")
    earlier = int(before) and int(before) - microseconds  # 0: there was none
    return f"{nonce}:{serial}:{int(start) - microseconds}:{earlier}:{delay}"


@contextmanager
def warm(client: redis.Redis) -> Iterator[Gates]:
    """Yield gates that were first used long ago: hosts of which nothing is known need not wait."""
    gates = Gates(client)
    gates.open().admit([wanted(host="other.example")], horizon_us=0)
    gates.sleep(86_400 * SECOND)
    yield gates
    gates.flush()


def slots_of(grants: Sequence[Grant]) -> list[Slot]:
    """Return all slots that were granted."""
    return [slot for grant in grants for slot in grant.slots]


def ends(slots: Sequence[Slot], how: Answered = Answered.OK, **told: int) -> list[SlotEnd]:
    """Return the ends of slots, all of one kind."""
    return [SlotEnd(slot, how, **told) for slot in slots]


def hammer(url: str, namespace: str, wishes: Sequence[Wanted], seconds: float) -> list[tuple[str, int, int]]:
    """Ask for slots without a pause and give them back as answered: host, delay and start of each that was granted.

    It is a worker's part; a process runs it.
    """
    client = connect(url)
    gate = HostGate(client, namespace, lease_us=LEASE, now_us=now_us, draw=lambda: 0.0)
    granted, stop = [], time.monotonic() + seconds
    while time.monotonic() < stop:
        answers = gate.admit(wishes, horizon_us=HORIZON // 100)
        for wish, grant in zip(wishes, answers, strict=True):
            granted += [(slot.host, wish.delay_us, slot.start) for slot in grant.slots]
        gate.report(ends(slots_of(answers)))
    client.close()
    return granted
