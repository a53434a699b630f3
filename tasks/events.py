"""Everything that penstock's own loggers say: a closed catalogue, so that dashboards and alerts can count on a name.

The text under a member tells what it means and which fields it carries beside the bound ids (``task``, ``task_id``,
``source``, ``item``, ``entry``, ``failure``). A name is never changed; in tests an unknown one raises.
"""

from __future__ import annotations

import enum


class Event(enum.StrEnum):
    """What a log line of penstock's own says; the value is the ``event`` field."""

    PAGES_INGESTED = "pages.ingested"
    """A pull task ended, having settled deliveries. One count for each outcome, and ``reclaimed``, ``parked``."""

    PAGES_RETRIED = "pages.retried"
    """A retry task ended, having tried stored failures again. One count for each outcome."""

    ITEM_FETCHED = "item.fetched"
    """A followed item's page was fetched and is in the stream. ``source, item, depth, entry``."""

    ITEMS_FETCHED = "items.fetched"
    """A fetch task ended, having handled due items. One count for each way in which they ended."""

    ITEM_FETCH_FAILED = "item.fetch_failed"
    """A followed item could not be fetched. ``source, item, url, error_class, message, attempts, state``."""

    HOST_PAUSED = "host.paused"
    """A host is left alone: it asks for that, is down, or has no robots.txt to be had. ``host, reason, until``."""

    FAILURE_KEPT = "failure.kept"
    """A payload could not be parsed and is kept with its bytes. ``error_class, message, fingerprint``."""

    FAILURE_RESOLVED = "failure.resolved"
    """A stored failure was tried again and became a page. ``outcome, attempts``."""

    DELIVERY_RECLAIMED = "delivery.reclaimed"
    """Entries were taken over from workers that died or outlived their lease, a line for each batch of them.

    ``entries`` (how many), ``first`` and ``last`` of them, ``deliveries`` (the most of one).
    """

    DELIVERY_UNDECIDED = "delivery.undecided"
    """A suspect page could not be judged this time, and will come again. ``entry, deliveries, message``."""

    DELIVERY_POISONED = "delivery.poisoned"
    """An entry was delivered too often and is kept as a failure. ``entry, deliveries``."""

    SOURCE_PAUSED = "source.paused"
    """More of a source's pages failed than the ceiling allows: it waits for somebody, or a newer parser. ``reason``."""

    SOURCE_RESUMED = "source.resumed"
    """A source that the ceiling had paused goes on by itself, since a parser is newer. ``reason``."""

    PROFILE_CHANGED = "source.profile_changed"
    """A worker began with a profile that reads a source's pages in another way: its failures are due again.

    ``source, failures`` (how many), ``resumed`` (whether the ceiling had paused it, and it goes on).
    """

    FIELD_DRIFTED = "field.drifted"
    """A source's pages have a field less often than before, or much more or less of it: its template may have changed.

    ``source, field, kind`` (``fill`` or ``size``), ``before, after`` (the fill rate, or the mean size).
    """

    FIELD_RECOVERED = "field.recovered"
    """That is over, or has become how the source is. The same fields."""

    STORE_AWAY = "store.away"
    """The store does not take a batch; it is kept in hand and tried again. ``error_class, message``."""

    TEXTS_COMPARED = "texts.compared"
    """Texts were compared with those that are stored. One count for each thing done."""

    UPKEEP_DONE = "upkeep.done"
    """A round of upkeep changed something. One count for each thing done."""

    LEDGER_UNBALANCED = "ledger.unbalanced"
    """The ledger's difference has changed and is not 0: run 'penstock audit'. ``difference, quiet, explained``."""

    LEDGER_BALANCED = "ledger.balanced"
    """The ledger balances again, or somebody has acknowledged the difference."""

    STREAM_EPOCH_LOST = "stream.epoch_lost"
    """Redis lost the stream that the store knew: what was in it and not committed is gone. ``epoch, previous``."""

    STREAM_RELIEVED = "stream.relieved"
    """Redis was full and refused Celery; pages were taken off it without. One count for each outcome."""

    WORKER_READY = "worker.ready"
    """A worker takes work."""

    WORKER_STOPPING = "worker.stopping"
    """A worker was asked to stop; it finishes or gives back what it holds."""

    WORKER_STOP_FORCED = "worker.stop_forced"
    """A worker that was asked to stop did not end by itself; it is ended, and its work taken over. ``seconds``."""

    WORKER_BEGINS_ANEW = "worker.begins_anew"
    """Celery ended by an error; the worker starts again in the same process. ``code``."""

    SERVER_NOT_KEPT = "worker.server_not_kept"
    """An embedded server went away and could not be started again; it is tried again. ``message``."""

    PUMP_STARTED = "pump.started"
    """The pump keeps pull tasks alive from now on. ``shares``."""

    PUMP_STALLED = "pump.stalled"
    """The pump could not send a pull task; it tries again. ``task_name, error``."""

    TASK_FAULT = "task.fault"
    """A bug of ours met one piece of work; it counts as a failed attempt of that one. With the traceback."""

    TASK_GAVE_UP = "task.gave_up"
    """A task met a transient error and ended; the next one tries again. ``error_class, message``."""
