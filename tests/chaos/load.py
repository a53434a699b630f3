"""The producer of a run: pushes pages at a steady rate, each until it is taken, and remembers what it was told."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from tasks.errors import StreamFull, Transient
from tasks.steps.page import Payload

MOST = 10  # pages of one call
PAUSE_SECONDS = 0.3  # after a refusal

Send = Callable[[Sequence[Payload]], Sequence[str]]


@dataclass
class Told:
    """What the producer knows: for each acknowledged entry, which page it is and when it was acknowledged."""

    acked: dict[str, tuple[int, float]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)  # calls by how they ended: acknowledged, unknown, refused
    lost: dict[str, str] = field(default_factory=dict)  # acknowledged entries that Redis lost, with the reason
    lost_though_noted: int = 0  # of them, those that were acknowledged long before
    vanished: dict[str, str] = field(default_factory=dict)  # those that nobody can account for


class Load:
    """Pushes in a thread of its own: once a second what is due by then, one to ten pages in a call."""

    def __init__(self, payloads: Sequence[Payload], send: Send, *, rate: float, seed: int) -> None:
        self._payloads, self._send, self._rate = payloads, send, rate
        self._rng = random.Random(seed)
        self._again: deque[int] = deque()
        self._lock = threading.Lock()
        self._in_flight = False
        self._ends, self._quits = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.told = Told()
        self.begun = 0  # pages that were pushed at least once, in their order

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Begin no new page; what was refused or lost is still pushed."""
        with self._lock:
            self._ends.set()

    def idle(self) -> bool:
        with self._lock:
            return self._ends.is_set() and not self._again and not self._in_flight

    def close(self) -> None:
        self._ends.set()
        self._quits.set()
        self._thread.join(60)

    def acked(self) -> dict[str, tuple[int, float]]:
        with self._lock:
            return dict(self.told.acked)

    def lose(self, entries: Collection[str], why: str) -> None:
        """Note that Redis lost these entries, and push their pages again."""
        with self._lock:
            fresh = [one for one in entries if one not in self.told.lost]
            self.told.lost.update(dict.fromkeys(fresh, why))
            self._again.extend(self.told.acked[one][0] for one in fresh)

    def _run(self) -> None:
        began = time.monotonic()
        while not self._quits.is_set():
            batch = self._next(time.monotonic() - began)
            if not batch:
                self._quits.wait(0.01)
                continue
            taken = self._push(batch)
            self._in_flight = False
            if not taken:
                self._quits.wait(PAUSE_SECONDS)

    def _next(self, elapsed: float) -> list[int]:
        with self._lock:
            self._in_flight = True
            if self._again:
                return [self._again.popleft() for _ in range(min(MOST, len(self._again)))]
            size = self._rng.choice((1, 2, 5, MOST))
            if self._ends.is_set() or self.begun + size > min(int(elapsed) * self._rate, len(self._payloads)):
                self._in_flight = False
                return []
            batch = list(range(self.begun, self.begun + size))
            self.begun += size
            return batch

    def _push(self, batch: Sequence[int]) -> bool:
        try:
            entries = self._send([self._payloads[at] for at in batch])
        except Transient as error:
            with self._lock:
                self.told.calls["refused" if isinstance(error, StreamFull) else "unknown"] += 1
                self._again.extend(batch)
            return False
        with self._lock:
            self.told.calls["acknowledged"] += 1
            now = time.monotonic()
            self.told.acked.update({entry: (at, now) for entry, at in zip(entries, batch, strict=True)})
        return True
