"""``upkeep``: frees leases that ran out, forgets dead consumers, and notes the epoch's ledger in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import celery

from tasks.base import Context, PenstockTask, context
from tasks.events import Event
from tasks.pausing import keep_pauses


class Upkeep(PenstockTask):
    """Keep store and stream tidy."""

    abstract = True
    event = Event.UPKEEP_DONE


@celery.shared_task(name="upkeep", base=Upkeep, bind=True)
def upkeep(self: Upkeep) -> Mapping[str, int]:
    """Keep store and stream tidy."""
    return self.log_counts(keep(context()))


def keep(ctx: Context) -> Counter[str]:
    """Do one round of upkeep; return what was done, by name."""
    epoch, accepted = ctx.stream.accepted()
    done = Counter(ctx.store.upkeep(epoch=epoch, accepted=accepted, now=ctx.clock.now_us()))
    done += keep_pauses(ctx, epoch=epoch)
    done["consumers_forgotten"] = ctx.stream.forget_dead_consumers()
    return done
