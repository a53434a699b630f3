"""Pausing a source by itself when too many of its pages fail, and resuming it by itself with a newer parser.

The store decides which sources are paused; the stream is told, so that ``push`` refuses and workers park.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress

import structlog

from tasks.base import Context
from tasks.errors import Transient
from tasks.events import Event
from tasks.ports import Entry
from tasks.steps.fingerprint import failure_fingerprint
from tasks.steps.parse import PARSER_VERSIONS

log = structlog.get_logger("penstock.pausing")

REPORTED_AS = "SourcePaused"
LOOK_SECONDS = 1.0


def parked(ctx: Context, entries: Sequence[Entry], done: Counter[str]) -> list[Entry]:
    """Park the entries of paused sources, counted in ``done``; return the others.

    One whose worker died after the commit has its outcome, and is not parked but acknowledged with the others.
    """
    paused = [entry for entry in ctx.stream.of_paused(entries) if not _has_outcome(ctx, entry)]
    if not paused:
        return list(entries)
    ctx.stream.park(paused)
    done["parked"] += len(paused)
    ids = {entry.id for entry in paused}
    return [entry for entry in entries if entry.id not in ids]


def _has_outcome(ctx: Context, entry: Entry) -> bool:
    return entry.deliveries > 1 and bool(ctx.store.delivered_among(entry.epoch, [entry.id]))


class FailureWatch:
    """Pauses sources past the ceiling during one pull, of which pages have just failed.

    The store is asked at once and then once a second at most: in a crawl nearly every batch holds a page that fails.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._failed: dict[str, str] = {}  # the epoch, by source
        self._look_at = 0.0

    def note(self, source: str, epoch: str) -> None:
        """Note that a page of a source failed."""
        self._failed[source] = epoch

    def look(self, *, at_once: bool = False) -> None:
        """Pause those that are past the ceiling, if it is time to ask. Call it with nothing in hand."""
        now = self._ctx.clock.monotonic()
        if not self._failed or (now < self._look_at and not at_once):
            return
        self._look_at = now + LOOK_SECONDS
        with suppress(Transient):  # what is not answered is asked again
            for epoch in set(self._failed.values()):
                self._pause([source for source, its in self._failed.items() if its == epoch], epoch)
            self._failed.clear()

    def _pause(self, sources: Collection[str], epoch: str) -> None:
        ctx = self._ctx
        paused = ctx.store.pause_past_ceiling(
            sources, ctx.limits.ceiling, epoch=epoch, parser_versions=PARSER_VERSIONS, now=ctx.clock.now_us()
        )
        for one in paused:
            log.error(Event.SOURCE_PAUSED, source=one.source, reason=one.reason)
            fingerprint = failure_fingerprint(REPORTED_AS, "", one.source)
            ctx.report(REPORTED_AS, f"{one.source} is paused: {one.reason}", fingerprint=fingerprint, source=one.source)
        if paused:
            ctx.stream.set_paused(ctx.store.paused_sources())


def keep_pauses(ctx: Context, *, epoch: str) -> Counter[str]:
    """Resume what a newer parser may mend, and let the stream know again which sources are paused."""
    resumed = ctx.store.resume_newer(epoch=epoch, parser_versions=PARSER_VERSIONS, now=ctx.clock.now_us())
    for one in resumed:
        log.info(Event.SOURCE_RESUMED, source=one.source, reason=one.reason)
    ctx.stream.set_paused(ctx.store.paused_sources())
    return Counter(sources_resumed=len(resumed))
