"""The pump: a bootstep in each worker's main process that keeps its tasks alive.

Celery's messages only say "go and look"; the pages wait in the stream and the due work in the store. So a message
that is lost or doubled costs nothing, and this is the only place that makes them. They do not pass the broker: the
worker gets them from its own pump, as if they had. A Redis that is full would refuse them, and it is just these tasks
that make room in it.

Start and stop of the step are run again after every reconnection, which makes the pump survive a broker that went
away.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from celery import bootsteps
from celery.worker import state
from kombu.message import Message
from kombu.serialization import dumps

from tasks.events import Event
from worker.lifetime import asked_to_stop

log = structlog.get_logger("penstock.pump")

TICK_SECONDS = 0.1
PAUSE_SECONDS = 1.0  # after a task could not be started


def _stopping() -> bool:
    if asked_to_stop():
        return True
    # None until asked; then an exit code, which may be 0. The stubs say bool.
    flags: tuple[Any, Any] = (state.should_stop, state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of work: its task, the queue whose consumers do it, and the least time between two of its tasks."""

    task: str
    queue: str
    every_seconds: float


ROLES: Mapping[str, Role] = {
    "ingest": Role("pages.ingest", "penstock.ingest", 0.0),
    "fetch": Role("items.fetch", "penstock.fetch", 0.5),
    "retry": Role("pages.retry", "penstock.retry", 2.0),
    "upkeep": Role("upkeep", "penstock.upkeep", 30.0),
    "compare": Role("texts.compare", "penstock.upkeep", 1.0),
}


def shares(roles: frozenset[str], processes: int) -> dict[str, int]:
    """Return how many tasks of each role to keep alive in a pool of ``processes``.

    Ingest gets what is left when fetching and retrying have one process each; where that is none they take turns.
    One is always left for the short tasks, upkeep and ``ingest_page``. A worker that does no ingest fetches with all
    but two, which is what its ``concurrency`` says.
    """
    others = max(1, len(roles & {"fetch", "retry"}))
    most = {"ingest": processes - others, "fetch": 1 if "ingest" in roles else processes - 2}
    return {role: max(1, most.get(role, 1)) for role in ROLES if role in roles}


class Pump(bootsteps.StartStopStep):
    """Keeps the pool's tasks alive, each role of the queues that this worker consumes."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:  # noqa: ARG002 (the bootstep's interface)
        self._last: dict[str, float] = {}
        self._paused_until = 0.0
        self._timer: Any = None
        self._shares: dict[str, int] = {}
        self.roles: frozenset[str] = frozenset()

    def start(self, consumer: Any) -> None:
        """Begin to tick in the worker's event loop."""
        # Celery ends the worker when a pool process has died before its first loop, whatever killed it; on later loops
        # it replaces it. What makes a process unable to start was checked before the fork.
        consumer.restart_count = max(consumer.restart_count, 1)
        queues = {queue.name for queue in consumer.task_consumer.queues}
        self.roles = frozenset(name for name, role in ROLES.items() if role.queue in queues)
        self._shares = shares(self.roles, consumer.pool.num_processes)
        self._timer = consumer.timer.call_repeatedly(TICK_SECONDS, self.tick, (consumer,))
        log.info(Event.PUMP_STARTED, shares=self._shares)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 (the bootstep's interface)
        """Start nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop

    def tick(self, consumer: Any) -> None:
        """Start what is missing. Never raises: an exception in a timer would end the worker."""
        now = time.monotonic()
        if now < self._paused_until or _stopping():
            return
        for name in self._shares:
            for _ in range(self._missing(name, now)):
                if not self._begin(consumer, name, now):
                    return

    def _missing(self, name: str, now: float) -> int:
        role = ROLES[name]
        if now - self._last.get(name, -role.every_seconds) < role.every_seconds:
            return 0
        alive: int = sum(request.name == role.task for request in state.reserved_requests)
        return self._shares[name] - alive

    def _begin(self, consumer: Any, name: str, now: float) -> bool:
        try:
            consumer.task_consumer.on_message(task_message(consumer.app, ROLES[name]))
        except Exception as error:  # noqa: BLE001 (whatever it is, the next tick tries again)
            self._paused_until = now + PAUSE_SECONDS
            log.warning(Event.PUMP_STALLED, task_name=ROLES[name].task, error=str(error))
            return False
        self._last[name] = now
        return True


class _NoChannel:
    """Where a message that never was at a broker is acknowledged."""

    no_ack_consumers = None

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: FBT001, FBT002 (kombu's interface)
        """Do nothing."""

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 (kombu's interface)
        """Do nothing: the next tick makes another one."""


def task_message(app: Any, role: Role) -> Message:
    """Return the message that starts one task of a role, as a worker receives it.

    Format: https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2.
    """
    task_id = str(uuid.uuid4())
    made = app.amqp.as_task_v2(task_id, role.task, (), {}, ignore_result=True, origin="penstock.pump")
    content_type, encoding, body = dumps(made.body, serializer="json")
    return Message(
        body=body,
        content_type=content_type,
        content_encoding=encoding,
        delivery_tag=task_id,
        delivery_info={"exchange": "", "routing_key": role.queue},
        properties=made.properties,
        headers=made.headers,
        accept={content_type},
        channel=_NoChannel(),
    )
