"""Pausing a source by itself when too many of its pages fail, and resuming it by itself with a newer parser.

The store decides which sources are paused; the stream is told, so that ``push`` refuses and workers park.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


def watch_failures(ctx: Context, failed: Mapping[str, int], handled: Mapping[str, int], *, epoch: str) -> None:
    """Pause those of the sources, of whose pages so many of a batch have just failed, that are past the ceiling.

    A batch that is below the ceiling's share brings no source above it, so nothing is asked then. Call it after the
    commit and the acknowledgement. What is not answered now is looked at again with the next failure.
    """
    sources = [source for source, count in failed.items() if count >= ctx.limits.ceiling.share * handled[source]]
    if not sources:
        return
    with suppress(Transient):
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
