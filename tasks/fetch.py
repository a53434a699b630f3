"""``items.fetch``: due items of the frontier, fetched and pushed onto the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import celery

from tasks.base import Context, PenstockTask, context
from tasks.crawl import Crawl
from tasks.events import Event

LOOK_SECONDS: Final = 0.05  # between two looks at the frontier, so that each takes several items
IDLE_SECONDS: Final = 0.25  # between two looks that found nothing
SOON_US: Final = 1_000_000  # a task stays for a host that opens within
GATHER_SECONDS: Final = 0.02  # how long answers are gathered before they are settled


class Fetch(PenstockTask):
    """Fetch the items that are due."""

    abstract = True
    event = Event.ITEMS_FETCHED


@celery.shared_task(name="items.fetch", base=Fetch, bind=True)
def fetch(self: Fetch) -> Mapping[str, int]:
    """Fetch the items that are due."""
    return self.log_counts(fetch_due(context()))


def fetch_due(ctx: Context) -> Counter[str]:
    """Fetch due items until there are none, or the budget ends; return how they ended.

    After its time the task claims nothing more, and ends with the last answer, or gives back what has none in the end.
    A worker that is to stop does not wait.
    """
    crawl = Crawl(ctx)
    ends = ctx.clock.monotonic() + ctx.limits.pull_seconds
    try:
        _run(ctx, crawl, ends)
    finally:
        crawl.let_go()
    return crawl.done


def _run(ctx: Context, crawl: Crawl, ends: float) -> None:
    look_at = 0.0
    while not ctx.stopping():
        now = ctx.clock.monotonic()
        if now >= ends + ctx.limits.fetch_tail_seconds:
            break
        if now >= ends:
            crawl.take_held()
            if not crawl.in_hand():
                return
        elif now >= look_at:
            claimed = crawl.take()
            if not claimed and not crawl.in_hand() and not _soon(ctx):
                return
            look_at = now + (LOOK_SECONDS if claimed or crawl.holds() else IDLE_SECONDS)
        ended = ctx.fetcher.ended(LOOK_SECONDS if now >= ends else min(LOOK_SECONDS, max(0.0, look_at - now)))
        if ended and ctx.fetcher.under_way():
            ctx.wait(GATHER_SECONDS)
            ended += ctx.fetcher.ended(0)
        if ended:
            crawl.settle(ended)
            look_at = min(look_at, now + LOOK_SECONDS)
    crawl.settle(ctx.fetcher.ended(0))


def _soon(ctx: Context) -> bool:
    """Tell whether a host that was closed when something was due at it opens before the next task would look."""
    now = ctx.clock.now_us()
    opens_at = ctx.manners.opens_at(now)
    return opens_at is not None and opens_at - now < SOON_US
