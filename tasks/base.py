"""What every task shares: the typed context, the settings that bound a task, and errors turned into outcomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import celery
import structlog

from tasks.errors import PenstockError, Transient
from tasks.events import Event
from tasks.fetch_ports import Archive, Fetcher, Frontier, Gate
from tasks.manners import Manners
from tasks.ports import Ceiling, Clock, Profiles, Sandbox, Scales, Store, Stream
from tasks.steps import policy
from tasks.steps.page import Payload

_CEILING = Ceiling(share=0.5, least=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that the tasks keep to; times in the unit that the name says."""

    max_body_bytes: int
    batch_size: int
    batch_bytes: int
    batch_seconds: float
    pull_seconds: float
    max_deliveries: int
    retry_base_us: int
    retry_cap_us: int
    retry_lease_us: int
    fetch_batch: int
    fetch_lease_us: int
    fetch_tail_seconds: float = 60.0  # how long a fetch task that claims no more waits for what it has in hand
    ceiling: Ceiling = _CEILING
    keep_deliveries_us: int = 90 * 86_400_000_000
    keep_payloads_us: int = 0  # for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """All that a task needs from the world, built once per process by ``worker.app``."""

    store: Store
    stream: Stream
    scales: Scales
    frontier: Frontier
    fetcher: Fetcher
    gate: Gate
    manners: Manners
    profiles: Profiles
    clock: Clock
    limits: Limits
    limited: Callable[[], AbstractContextManager[None]]  # bounds what one page may cost this process
    sandbox: Sandbox
    worker: str  # this process' name in the store's records
    run: str  # the crawl run that fetch budgets are counted under
    draw: Callable[[], float]  # uniform in [0, 1), for jitter
    wait: Callable[[float], bool]  # waits up to so many seconds, True at once when the worker is to stop
    archive: Archive | None  # of what is fetched; None: it is not wanted
    report: Callable[..., None] = field(repr=False)  # tells Sentry of an error that is not tried again

    def next_attempt(self, error_class: str, payload: Payload, attempts: int) -> policy.Attempt | None:
        """Return the payload's next attempt after ``attempts`` of them failed; None: it is given up."""
        return policy.next_attempt(
            error_class,
            payload,
            self.profiles.get(payload.source),
            attempts=attempts,
            now=self.clock.now_us(),
            base_us=self.limits.retry_base_us,
            cap_us=self.limits.retry_cap_us,
            draw=self.draw(),
        )

    def stopping(self) -> bool:
        """Tell whether the worker has been asked to stop."""
        return self.wait(0)


_factory: Callable[[], Context] | None = None
_built: tuple[int, Context] | None = None


def provide(factory: Callable[[], Context]) -> None:
    """Say how a process builds its context. Nothing is built yet."""
    global _factory, _built
    _factory, _built = factory, None


def context() -> Context:
    """Return this process' context; build it with the first call after a fork, as connections do not survive one."""
    global _built  # noqa: PLW0603
    if _built is None or _built[0] != os.getpid():
        if _factory is None:
            message = (
                "the tasks have no context: start the worker with 'penstock work' or 'celery -A worker.app worker'"
            )
            raise PenstockError(message)
        _built = (os.getpid(), _factory())
    return _built[1]


class PenstockTask(celery.Task[Any, Any]):
    """A task that ends in one line: its counts, or the transient error that made it give up for now.

    A message carries no data, so nothing is lost with it: there is no retry, no late ack and no result.
    """

    abstract = True
    ignore_result = True
    acks_late = False
    max_retries = 0
    event: Event  # what a run that did something is logged as

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        """Run the task with its ids bound to the log, and turn what it raises into an outcome."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(task=self.name, task_id=self.request.id)
        try:
            counts: Mapping[str, int] = self.run(*args, **kwargs)
        except Transient as error:
            return self._gave_up(error)
        except MemoryError as error:
            # Celery answers a MemoryError of a task by ending the whole worker, and the message comes back to kill
            # the next one: celery/worker/request.py, on_failure.
            message = "the task ran out of memory"
            raise PenstockError(message) from error
        finally:
            structlog.contextvars.clear_contextvars()
        return _one_line(counts)

    def _gave_up(self, error: Transient) -> str:
        log = structlog.get_logger("penstock.tasks").bind(task=self.name)
        log.warning(Event.TASK_GAVE_UP, error_class=error.error_class, message=error.message)
        context().wait(1.0)  # the pump starts the next one at once; this is what keeps it from spinning
        return f"{error.error_class}: {error.message}"

    def log_counts(self, counts: Mapping[str, int]) -> Mapping[str, int]:
        """Log a run that did something; return its counts."""
        if any(counts.values()):
            structlog.get_logger("penstock.tasks").info(self.event, **counts)
        return counts


def _one_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "idle"
