"""What parsing finds of each source: counted by the pulls, watched by upkeep."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import structlog

from tasks.base import Context
from tasks.errors import Transient
from tasks.events import Event
from tasks.ports import Settled
from tasks.steps.drift import BUCKET_US, sizes, tallies
from tasks.steps.fingerprint import failure_fingerprint
from tasks.steps.page import Arrival, Outcome, PageResult

log = structlog.get_logger("penstock.drift")

REPORTED_AS = "FieldDrifted"
TURN = "drift"
WATCH_EVERY_US = 300_000_000
STORE_SECONDS = 10.0


class FieldCounts:
    """Counts during one pull what the pages that it stored had of each field.

    Only texts that are new to their page count: one that is fetched again and again would outvote the others. What was
    counted is stored every few seconds, apart from the pages: a statistic that a kill may cost some seconds of.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._found: dict[str, list[tuple[int, ...]]] = {}  # by source
        self._store_at = ctx.clock.monotonic() + STORE_SECONDS

    def note(self, done: Iterable[tuple[Settled, Arrival]]) -> None:
        """Count the pages of a batch that was committed."""
        for settled, arrival in done:
            result = arrival.result
            if settled.fresh and settled.outcome is not Outcome.UNCHANGED and isinstance(result, PageResult):
                self._found.setdefault(arrival.payload.source, []).append(sizes(result.page))

    def look(self, *, at_once: bool = False) -> None:
        """Store what was counted, if it is time to."""
        now = self._ctx.clock.monotonic()
        if not self._found or (now < self._store_at and not at_once):
            return
        self._store_at = now + STORE_SECONDS
        with suppress(Transient):  # it is counted on, and stored another time
            counted = {source: tallies(found) for source, found in self._found.items()}
            self._ctx.store.add_fields(counted, span=self._ctx.clock.now_us() // BUCKET_US)
            self._found.clear()


def watch_fields(ctx: Context) -> None:
    """Hold the last pages of each source against those before, one process each five minutes; say what changed."""
    now = ctx.clock.now_us()
    if not ctx.store.take_turn(TURN, every_us=WATCH_EVERY_US, now=now):
        return
    for one in ctx.store.watch_fields(now=now):
        told = {"source": one.source, "field": one.field, "kind": one.kind, "before": one.before, "after": one.after}
        if one.over:
            log.info(Event.FIELD_RECOVERED, **told)
            continue
        log.error(Event.FIELD_DRIFTED, **told)
        fingerprint = failure_fingerprint(REPORTED_AS, f"{one.field}:{one.kind}", one.source)
        ctx.report(REPORTED_AS, one.sentence(), fingerprint=fingerprint, source=one.source)
