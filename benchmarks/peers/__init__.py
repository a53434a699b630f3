"""The peers, each in a file of its own with a ``PEER`` that says how to fill its queue and how to start its workers.

Such a file imports nothing that may not be installed: what its workers run stands in a file beside it. All peers get
the same pages, two processes, the same Redis and a fresh database, and must leave the same facts behind.
"""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Final

from redis import Redis

from benchmarks import reference, work
from benchmarks.reference import Rows
from tasks.errors import UsageError
from tasks.steps.page import Payload

PROCESSES: Final = 2

# In the order of the report; the module of each is this package's, and may be named for a third-party package.
MODULES: Final[Mapping[str, str]] = {
    "penstock": "penstock",
    "penstock-sqlite": "penstock_sqlite",
    "plain-loop": "plain_loop",
    "celery-textbook": "celery_textbook",
    "celery-tuned": "celery_tuned",
    "dramatiq": "dramatiq",
    "taskiq": "taskiq",
    "scrapy-redis": "scrapy_redis",
    "faststream": "faststream",
    "bytewax": "bytewax",
}


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where one run of one peer takes place: an empty Redis, an empty database, an empty folder."""

    redis_url: str  # unix://…, as redis-py takes it
    store_url: str = field(repr=False)  # postgresql://…
    home: Path  # for whatever files the peer wants
    pages: int  # how many are pushed
    processes: int = PROCESSES

    @property
    def progress(self) -> Path:
        """The file that ``work.handled`` lets grow by a byte a page."""
        return self.home / "progress"

    def environ(self) -> dict[str, str]:
        """Return the variables by which ``benchmarks.work`` and the workers' modules find all that."""
        return {work.REDIS_URL: self.redis_url, work.STORE_URL: self.store_url, work.PROGRESS: str(self.progress)}

    def redis(self) -> Redis:
        """Return the client of this run's Redis, the same with each call."""
        return self._client

    @cached_property
    def _client(self) -> Redis:
        client: Redis = Redis.from_url(self.redis_url)
        return client


class Peer(ABC):
    """One way to handle the pages. Runs ``prepare``, ``push``, the ``commands``, then ``rows``, each once a run."""

    name: ClassVar[str]  # as in MODULES
    settings: ClassVar[str]  # what the report says of how it is set up: a sentence or two
    packages: ClassVar[tuple[str, ...]] = ()  # top-level modules that it imports and penstock does not bring
    share: ClassVar[float] = 1.0  # of the pages that it gets; a task a page is slow, and its cost does not depend on it

    def missing(self) -> list[str]:
        """Return those of its packages that are not installed."""
        return [one for one in self.packages if importlib.util.find_spec(one) is None]

    def prepare(self, room: Room) -> None:
        """Make the tables."""
        with work.connect(room.store_url) as connection:
            connection.execute(work.TABLES.read_bytes(), prepare=False)

    @abstractmethod
    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Fill the queue with all of the payloads, in order, before any worker runs."""

    @abstractmethod
    def commands(self, room: Room) -> list[list[str]]:
        """Return the commands of the workers; each is started once, with ``environ``, in ``room.home``.

        They are stopped by SIGTERM, or killed if they do not end by it, when all pages are handled.
        """

    def environ(self, room: Room) -> dict[str, str]:
        """Return the variables of the workers beside the inherited ones."""
        return room.environ()

    def handled(self, room: Room) -> int:
        """Return how many pages are handled and committed. Is asked all the time: it must cost next to nothing."""
        try:
            return room.progress.stat().st_size
        except FileNotFoundError:
            return 0

    def rows(self, room: Room) -> Rows:
        """Read what is stored in the end."""
        return reference.rows_of_tables(room.store_url)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def peer(name: str) -> Peer:
    """Return the peer of this name. Raises ``UsageError`` where there is none."""
    if name not in MODULES:
        raise UsageError(f"there is no peer '{name}'; there are {', '.join(MODULES)}")
    found: Peer = import_module(f"benchmarks.peers.{MODULES[name]}").PEER
    return found
