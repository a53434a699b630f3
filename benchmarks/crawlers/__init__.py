"""Ways to crawl the same farm, each in a file of its own with what says how to begin and how to start its workers.

As in ``benchmarks.peers``, such a file imports nothing that may not be installed; what its workers run stands beside
it. All get the same sites, two processes, the same Redis and a fresh database, and must fetch each page once.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from tests.support.farm.running import Farm

PROCESSES: Final = 2


@dataclass(frozen=True, kw_only=True)
class Yard:
    """Where one crawl takes place: a farm, an empty Redis, an empty database, an empty folder."""

    farm: Farm
    redis_url: str
    store_url: str = field(repr=False)
    home: Path

    @property
    def pages(self) -> int:
        """How many pages can be reached, the roots included."""
        return sum(len(one.pages) for one in self.farm.reach)


class Crawler(ABC):
    """One way to crawl. Runs ``prepare``, then the ``commands``."""

    name: ClassVar[str]
    settings: ClassVar[str]  # what the report says of how it is set up
    packages: ClassVar[tuple[str, ...]] = ()  # top-level modules that it imports and penstock does not bring
    share: ClassVar[float] = 1.0  # of the pages that it gets; what is slow does not get faster by more of them
    brings_roots: ClassVar[bool] = False  # whether the roots' pages are pushed in place of being fetched

    def missing(self) -> list[str]:
        """Return those of its packages that are not installed."""
        return [one for one in self.packages if importlib.util.find_spec(one) is None]

    def fetches(self, yard: Yard) -> int:
        """Return how many pages it has to fetch."""
        return yard.pages - len(yard.farm.sites) * self.brings_roots

    @abstractmethod
    def prepare(self, yard: Yard) -> None:
        """Let it know where to begin, before any worker runs."""

    @abstractmethod
    def commands(self, yard: Yard) -> Sequence[Sequence[str]]:
        """Return the commands of the workers; each is started once, with ``environ``, in ``yard.home``."""

    @abstractmethod
    def environ(self, yard: Yard) -> dict[str, str]:
        """Return the variables of the workers beside the inherited ones."""

    @abstractmethod
    def stored(self, yard: Yard) -> int:
        """Return how many of the pages that it fetched are where they end. Is asked when all of them are fetched."""
