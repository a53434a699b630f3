"""``texts.compare``: finds pages of nearly the same text, a little behind their commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import celery

from tasks.base import Context, PenstockTask, context
from tasks.events import Event

COMPARE_SECONDS = 2.0  # of one round


class Compare(PenstockTask):
    """Compare the texts that have not been yet with those that are stored."""

    abstract = True
    event = Event.TEXTS_COMPARED


@celery.shared_task(name="texts.compare", base=Compare, bind=True)
def compare(self: Compare) -> Mapping[str, int]:
    """Compare the texts that have not been yet with those that are stored."""
    return self.log_counts(compare_due(context()))


def compare_due(ctx: Context) -> Counter[str]:
    """Compare texts for some time, resting as long as each portion took: commits want to write too."""
    done: Counter[str] = Counter()
    more, ends = True, ctx.clock.monotonic() + COMPARE_SECONDS
    while more and ctx.clock.monotonic() < ends:
        began = ctx.clock.monotonic()
        counts, more = ctx.store.compare_texts(now=ctx.clock.now_us())
        done.update(counts)
        if more and ctx.wait(ctx.clock.monotonic() - began):
            break
    return done
