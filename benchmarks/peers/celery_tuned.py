"""Celery with a task a page, set up as well as that goes."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from benchmarks.peers.celery_textbook import CeleryTextbook


class CeleryTuned(CeleryTextbook):
    """No results, messages acknowledged when they are handled, and nothing sent that nobody reads."""

    name = "celery-tuned"
    settings = (
        "One task a page, `ignore_result`, `acks_late`, `reject_on_worker_lost`, `prefetch_multiplier` 16, "
        "`-O fair`, without gossip, mingle, heartbeat and events."
    )
    options: ClassVar[dict[str, Any]] = {
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 16,
        "worker_disable_rate_limits": True,
        "worker_send_task_events": False,
        "task_send_sent_event": False,
    }
    arguments: ClassVar[tuple[str, ...]] = ("-O", "fair", "--without-gossip", "--without-mingle", "--without-heartbeat")


PEER: Final = CeleryTuned()
