"""``upkeep``: frees leases that ran out, forgets dead consumers and old rows, notes and watches the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import celery
import structlog

from tasks.base import Context, PenstockTask, context
from tasks.drift import watch_fields
from tasks.events import Event
from tasks.notes import note_accepted
from tasks.pausing import keep_pauses
from tasks.starts import plant

TIDY_SECONDS = 2.0  # of one round
AUDIT = "audit"
AUDIT_EVERY_US = 60_000_000

log = structlog.get_logger("penstock.upkeep")


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
    done = Counter(ctx.store.upkeep(now=ctx.clock.now_us()))
    done["items_due_again"] = note_accepted(ctx).items_due_again
    done += keep_pauses(ctx, epoch=ctx.stream.epoch())
    done["starts_due"] = plant(ctx.frontier, ctx.profiles, now=ctx.clock.now_us())
    done["consumers_forgotten"] = ctx.stream.forget_dead_consumers()
    done += tidy(ctx)
    watch(ctx)
    watch_fields(ctx)
    return done


def tidy(ctx: Context) -> Counter[str]:
    """Fold sums and delete old rows for some time, resting as long as each portion took: commits want to write too."""
    done: Counter[str] = Counter()
    more, ends = True, ctx.clock.monotonic() + TIDY_SECONDS
    while more and ctx.clock.monotonic() < ends:
        began = ctx.clock.monotonic()
        counts, more = ctx.store.tidy(
            deliveries_us=ctx.limits.keep_deliveries_us,
            payloads_us=ctx.limits.keep_payloads_us,
            first_waiting=ctx.stream.first_id(),
            now=ctx.clock.now_us(),
        )
        done.update(counts)
        if more and ctx.wait(ctx.clock.monotonic() - began):
            break
    return done


def watch(ctx: Context) -> None:
    """Weigh the ledger, one process each minute; say so when its difference is another one than before."""
    if not ctx.store.take_turn(AUDIT, every_us=AUDIT_EVERY_US, now=ctx.clock.now_us()):
        return
    found = ctx.scales.weigh()
    known = int(ctx.store.noted(AUDIT) or 0)
    if found.difference == known or (not found.quiet and found.difference <= known):
        return  # a busy system shows less than what is missing
    ctx.store.note(AUDIT, str(found.difference))
    if not found.difference:
        log.info(Event.LEDGER_BALANCED)
        return
    log.error(Event.LEDGER_UNBALANCED, difference=found.difference, quiet=found.quiet, explained=list(found.explained))
    if not known:
        ctx.report("LedgerUnbalanced", "; ".join(found.explained), fingerprint=Event.LEDGER_UNBALANCED)
