"""The pump: a bootstep in each worker's main process that keeps its tasks alive.

Celery's messages only say "go and look"; the pages wait in the stream and the due work in the store. So a message
that is lost or doubled costs nothing, and this is the only place that sends them. Start and stop of the step are
run again after every reconnection, which makes the pump survive a broker that went away.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from celery import bootsteps
from celery.signals import task_received
from celery.worker import state

from tasks.events import Event

log = structlog.get_logger("penstock.pump")

TICK_SECONDS = 0.1
EXPIRES_SECONDS = 10.0  # a message that nobody took by then is thrown away, and another one sent
PAUSE_SECONDS = 1.0  # after the broker refused a message


def _stopping() -> bool:
    # None until asked; then an exit code, which may be 0. The stubs say bool.
    flags: tuple[Any, Any] = (state.should_stop, state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of work: its task, the queue that carries its messages, and the least time between two of them."""

    task: str
    queue: str
    every_seconds: float


ROLES: Mapping[str, Role] = {
    "ingest": Role("pages.ingest", "penstock.ingest", 0.0),
    "fetch": Role("items.fetch", "penstock.fetch", 0.5),
    "retry": Role("pages.retry", "penstock.retry", 2.0),
    "upkeep": Role("upkeep", "penstock.upkeep", 30.0),
}


def shares(roles: frozenset[str], processes: int) -> dict[str, int]:
    """Return how many tasks of each role to keep alive in a pool of ``processes``.

    Ingest gets what is left when fetching and retrying have one process each; where that is none they take turns.
    One is always left for the short tasks, upkeep and ``ingest_page``.
    """
    others = max(1, len(roles & {"fetch", "retry"}))
    return {role: max(1, processes - others) if role == "ingest" else 1 for role in ROLES if role in roles}


class Pump(bootsteps.StartStopStep):
    """Keeps the pool's tasks alive, each role of the queues that this worker consumes."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:  # noqa: ARG002 (the bootstep's interface)
        self._sent: dict[str, tuple[str, float]] = {}  # task id → role, when; until the worker has received it
        self._last: dict[str, float] = {}
        self._paused_until = 0.0
        self._timer: Any = None
        self._shares: dict[str, int] = {}
        self.roles: frozenset[str] = frozenset()

    def start(self, consumer: Any) -> None:
        """Begin to tick in the worker's event loop."""
        queues = {queue.name for queue in consumer.task_consumer.queues}
        self.roles = frozenset(name for name, role in ROLES.items() if role.queue in queues)
        self._shares = shares(self.roles, consumer.pool.num_processes)
        self._sent.clear()
        task_received.connect(self._received, weak=True)
        self._timer = consumer.timer.call_repeatedly(TICK_SECONDS, self.tick, (consumer,))
        log.info(Event.PUMP_STARTED, shares=self._shares)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 (the bootstep's interface)
        """Send nothing more."""
        task_received.disconnect(self._received)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop

    def _received(self, request: Any = None, **_: Any) -> None:
        if request is not None:
            self._sent.pop(request.id, None)

    def tick(self, consumer: Any) -> None:
        """Send what is missing. Never raises: an exception in a timer would end the worker."""
        now = time.monotonic()
        if now < self._paused_until or _stopping():
            return
        self._sent = {key: sent for key, sent in self._sent.items() if now - sent[1] < EXPIRES_SECONDS}
        for name in self._shares:
            for _ in range(self._missing(name, now)):
                if not self._send(consumer, name, now):
                    return

    def _missing(self, name: str, now: float) -> int:
        role = ROLES[name]
        if now - self._last.get(name, -role.every_seconds) < role.every_seconds:
            return 0
        alive: int = sum(request.name == role.task for request in state.reserved_requests)
        on_the_way = sum(sent[0] == name for sent in self._sent.values())
        return self._shares[name] - alive - on_the_way

    def _send(self, consumer: Any, name: str, now: float) -> bool:
        role, task_id = ROLES[name], str(uuid.uuid4())
        try:
            consumer.app.send_task(
                role.task, task_id=task_id, queue=role.queue, expires=EXPIRES_SECONDS, retry=False, ignore_result=True
            )
        except Exception as error:  # noqa: BLE001 (kombu lets its transports' own errors through; the next tick tries again)
            self._paused_until = now + PAUSE_SECONDS
            log.warning(Event.PUMP_STALLED, task_name=role.task, error=str(error))
            return False
        self._sent[task_id] = (name, now)
        self._last[name] = now
        return True
