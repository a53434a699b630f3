"""The composition root: the Celery app, and the place that builds the parts of a worker and puts them together.

``celery -A worker.app worker`` works as it stands. Importing this module connects to nothing and reads nothing: the
settings are read with the first use of ``app.conf``, connections are opened by each pool process for itself.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import celery
import structlog
from celery import signals
from celery.worker import state

import tasks.base
from tasks.base import Context, Limits
from tasks.errors import PenstockError, StreamUnavailable
from tasks.events import Event
from tasks.manners import Manners
from tasks.ports import Ceiling
from worker import lifetime
from worker.garbage import collect_seldom, leave_uncollected
from worker.limits import Limited, die_with, limit_memory
from worker.pump import ROLES, Pump
from worker.runtime import note_profiles, open_gate, open_store, open_stream, runtime

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.fetch_archive import FetchArchive
    from worker.http_fetcher import HttpFetcher
    from worker.sandbox import Sandbox
    from worker.stream import PageStream

log = structlog.get_logger("penstock.worker")

app = celery.Celery("penstock", include=["tasks.ingest", "tasks.retry", "tasks.fetch", "tasks.compare", "tasks.upkeep"])
app.steps["consumer"].add(Pump)

ENSURE_SECONDS = 2.0
RELIEF_SECONDS = 400.0  # longer than a relief takes that does not hang
_PARTS = (
    "audit.watch",
    "embedded.users",
    "fetch_archive",
    "host_gate",
    "http_fetcher",
    "plugins",
    "sandbox",
    "stream",
    "telemetry",
)
ARCHIVE_SECONDS = 3600.0  # after which a file of what was fetched is closed
TRIAL_SECONDS = 60.0  # how long a suspect page may take by the wall clock


class SystemClock:
    """The system's clocks."""

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()


def _load_parts() -> None:
    """Import what the processes of the pool will need, and connect to nothing."""
    for name in _PARTS:
        import_module(f"worker.{name}")


def build_context() -> Context:
    """Build what the tasks of this process work with. Opens no connection yet."""
    from worker.audit.watch import LedgerScales
    from worker.plugins import load_parsers
    from worker.telemetry import report

    load_parsers()
    rt = runtime()
    stream = open_stream(rt)
    settings = rt.settings
    store, clock = open_store(rt), SystemClock()
    limited = Limited(settings.page_seconds)
    return Context(
        store=store,
        stream=stream,
        scales=LedgerScales(stream, store),
        frontier=store,
        fetcher=open_fetcher(settings),
        gate=open_gate(rt, clock.now_us),
        manners=Manners(store, settings.user_agent),
        archive=open_archive(settings),
        profiles=rt.profiles,
        clock=clock,
        limits=limits_of(settings),
        limited=lambda: limited,
        sandbox=open_sandbox(settings),
        worker=stream.consumer,
        run=rt.run,
        draw=random.random,
        wait=lifetime.wait,
        report=report,
    )


def open_fetcher(settings: Settings) -> HttpFetcher:
    """Build the HTTP client of this process; its thread is started with the first request."""
    from worker.http_client import HttpSettings
    from worker.http_fetcher import HttpFetcher

    return HttpFetcher(
        HttpSettings(
            user_agent=settings.user_agent,
            timeout_seconds=settings.fetch_timeout_seconds,
            max_body_bytes=settings.max_body_bytes,
            keep_heads=settings.fetch_archive is not None,
        )
    )


def open_archive(settings: Settings) -> FetchArchive | None:
    """Build the archive of what this process fetches, where one is wanted."""
    from worker.fetch_archive import FetchArchive

    if settings.fetch_archive is None:
        return None
    return FetchArchive(
        settings.fetch_archive,
        software=f"penstock/{version('penstock')}",
        max_bytes=settings.fetch_archive_bytes,
        max_seconds=ARCHIVE_SECONDS,
    )


def open_sandbox(settings: Settings) -> Sandbox:
    """Build the sandbox of this process; its own process is started with the first suspect page."""
    from worker.sandbox import Sandbox

    # A trial may begin when the pull's time is nearly over, and a batch follows it; all within the limit of the task.
    left = settings.lease_seconds - settings.pull_seconds - settings.batch_seconds - 20
    return Sandbox(
        page_seconds=settings.page_seconds,
        memory=settings.process_memory,
        trial_seconds=min(TRIAL_SECONDS, left),
        stopping=lifetime.asked_to_stop,
    )


def limits_of(settings: Settings) -> Limits:
    """Pick the tasks' bounds out of the settings."""
    return Limits(
        max_body_bytes=settings.max_body_bytes,
        batch_size=settings.batch_size,
        batch_bytes=settings.batch_bytes,
        batch_seconds=settings.batch_seconds,
        pull_seconds=settings.pull_seconds,
        max_deliveries=settings.max_deliveries,
        retry_base_us=_us(settings.retry_base_seconds),
        retry_cap_us=_us(settings.retry_max_seconds),
        retry_lease_us=_us(settings.lease_seconds),
        fetch_batch=settings.fetch_batch,
        fetch_lease_us=_us(settings.fetch_lease_seconds),
        fetch_tail_seconds=settings.lease_seconds - settings.pull_seconds - 20,  # Celery would end it soon after
        keep_deliveries_us=_us(settings.delivery_days * 86_400),
        keep_payloads_us=_us(settings.payload_days * 86_400),
        ceiling=Ceiling(share=settings.failure_ceiling_share, least=settings.failure_ceiling_least),
    )


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


tasks.base.provide(build_context)


def _celery_settings() -> dict[str, Any]:
    from worker.celery_settings import celery_settings
    from worker.embedded import kombu_url

    try:
        rt = runtime()
        return celery_settings(rt.settings, broker_url=kombu_url(rt.redis_url))
    except PenstockError as error:  # read somewhere inside Celery, which would print a traceback
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(2)


app.add_defaults(_celery_settings)

_main_pid = 0


def _or_exit(step: Callable[[], None]) -> None:
    """Run a step of the start; exit where it fails. Celery swallows what a signal handler raises, but not this."""
    try:
        step()
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(2)


@signals.setup_logging.connect
def _set_up_logging(loglevel: Any = None, **_: Any) -> None:  # noqa: ARG001 (our own settings say the level)
    from worker.telemetry import configure_logging

    settings = runtime().settings
    configure_logging(level=settings.log_level, fmt=settings.log_format)


@signals.worker_init.connect
def _worker_starts(**_: Any) -> None:
    """Check all that can be checked before the first fork: settings, profiles, plug-ins, and the store's tables."""
    from tasks.steps.parse import PARSER_VERSIONS
    from worker.plugins import load_parsers

    def check() -> None:
        global _main_pid  # noqa: PLW0603
        _main_pid = os.getpid()
        lifetime.share_flag()
        load_parsers()
        store = open_store(runtime())
        for one in note_profiles(runtime(), store, PARSER_VERSIONS):
            log.info(Event.PROFILE_CHANGED, source=one.source, failures=one.failures, resumed=one.resumed)
        store.close()

    _or_exit(check)


@signals.worker_process_init.connect
def _pool_process_starts(**_: Any) -> None:
    """Build this process' parts; tie its life to the main process, which may be killed without a word."""
    from worker.telemetry import configure_sentry

    def build() -> None:
        die_with(_main_pid)
        settings = runtime().settings
        limit_memory(settings.process_memory)
        configure_sentry(dsn=settings.sentry_dsn_value(), environment=settings.environment, release=settings.release)
        tasks.base.context()
        collect_seldom()

    _or_exit(build)


@signals.worker_process_shutdown.connect
def _pool_process_ends(exitcode: int = os.EX_OK, **_: Any) -> None:
    """End at once. Celery would have this process wait a second for a signal of its parent, which notices anyway."""
    os._exit(exitcode)


@signals.celeryd_init.connect
def _worker_begins(**_: Any) -> None:
    """Look after the servers from before Celery connects: a Redis that is full would not let it."""
    # All modules are loaded by now: a pool process that is forked while this thread imports would wait for ever for the
    # import's lock, whose holder it does not have.
    _load_parts()
    leave_uncollected()  # Celery collects before each fork, and each process of the pool would go through it again
    threading.Thread(target=_look_after_servers, name="servers", daemon=True).start()


@signals.worker_ready.connect
def _worker_is_ready(sender: Any = None, **_: Any) -> None:
    log.info(Event.WORKER_READY, run=runtime().run, worker=getattr(sender, "hostname", None))
    _stop_when_idle()


@cache
def _stop_when_idle() -> None:
    """Once: Celery is ready again after each connection that it lost."""
    if threading.current_thread() is threading.main_thread():  # tests run a worker in another one
        lifetime.stop_when_idle(_worker_stops, lambda: len(state.reserved_requests))


def _look_after_servers() -> None:
    """Start embedded servers again whose keeper was killed, and make room in a Redis that is full.

    The worker's connections then find them by themselves.
    """
    stream: PageStream | None = None
    while not lifetime.wait(ENSURE_SECONDS):
        try:
            stream = stream or open_stream(runtime())
            runtime().ensure_servers()
            if stream.is_out_of_memory() and ROLES["ingest"].queue in app.amqp.queues.consume_from:
                _relieve()
        except StreamUnavailable:
            continue  # the worker itself says so
        except PenstockError as error:
            log.error(Event.SERVER_NOT_KEPT, message=error.message)  # noqa: TRY400 (the message says it; no bug of ours)
        except Exception:
            log.exception(Event.SERVER_NOT_KEPT, message="looking after the servers failed; it is tried again")


def _relieve() -> None:
    """Run ``worker.relief`` until it ends or the worker is to stop; what it has in hand then is taken over."""
    child = subprocess.Popen([sys.executable, "-P", "-m", "worker.relief"], stdin=subprocess.DEVNULL)
    ends = time.monotonic() + RELIEF_SECONDS
    while child.poll() is None and time.monotonic() < ends and not lifetime.wait(0.5):
        pass
    child.kill()
    child.wait()


@signals.worker_shutting_down.connect
def _worker_stops(**_: Any) -> None:
    if lifetime.asked_to_stop():
        return
    log.info(Event.WORKER_STOPPING)
    lifetime.ask_to_stop()
    lifetime.end_in_time()
