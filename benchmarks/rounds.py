"""All peers in turn, round after round, and the medians of what they came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from statistics import median
from typing import Any, Final

from benchmarks.measure import Load, Run, run
from benchmarks.pages import SEED, pages
from benchmarks.peers import MODULES, Peer, peer
from benchmarks.reference import expected
from benchmarks.servers import running
from tasks.errors import UsageError

LEAST_PAGES: Final = 1000  # of a peer that gets a share only
TEXTBOOK: Final = "celery-textbook"
LIMIT: Final = "plain-loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the runs of one peer came to."""

    peer: Peer
    runs: Sequence[Run]
    ratio_to_textbook: float | None = None  # of the medians of pages/s; None when that did not run
    ratio_to_plain_loop: float | None = None

    @property
    def rows_ok(self) -> bool:
        """Whether all runs stored what they had to."""
        return not any(one.wrong for one in self.runs)

    def middle(self, name: str) -> float:
        """Return the median of a field of the runs."""
        return median(self.values(name))

    def values(self, name: str) -> list[float]:
        """Return a field of all runs."""
        return [attrgetter(name)(one) for one in self.runs]

    def to_json(self) -> dict[str, Any]:
        """Return the result for ``--json``: medians, and the least and the most of what varies."""
        rates, cpu = self.values("pages_per_s"), self.values("cpu_ms")
        return {
            "name": self.peer.name,
            "pages_per_s": round(self.middle("pages_per_s"), 1),
            "pages_per_s_min": round(min(rates), 1),
            "pages_per_s_max": round(max(rates), 1),
            "cpu_ms_per_page": round(self.middle("cpu_ms"), 4),
            "cpu_ms_per_page_min": round(min(cpu), 4),
            "cpu_ms_per_page_max": round(max(cpu), 4),
            "cpu_ms_workers": round(self.middle("workers_ms"), 4),
            "cpu_ms_redis": round(self.middle("redis_ms"), 4),
            "cpu_ms_database": round(self.middle("database_ms"), 4),
            "ratio_to_textbook": _rounded(self.ratio_to_textbook),
            "ratio_to_plain_loop": _rounded(self.ratio_to_plain_loop),
            "peak_mb": round(self.middle("peak_mb"), 1),
            "redis_bytes_per_page": round(self.middle("redis_bytes_per_page")),
            "pushed_per_s": round(self.middle("pushed_per_s"), 1),
            "pages": self.runs[0].pages,
            "rounds": len(self.runs),
            "rows_ok": self.rows_ok,
            "wrong": [told for one in self.runs for told in one.wrong],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A whole benchmark: the results, in the order of the peers, and what they were measured with."""

    results: Sequence[Result]
    pages: int
    rounds: int
    versions: dict[str, str] = field(default_factory=dict)  # of the servers


def chosen(only: Sequence[str] | None, tell: Callable[[str], None]) -> list[Peer]:
    """Return the peers that can run, all or those named; ``tell`` is told of any that is left out.

    Raises ``UsageError`` for an unknown name, and for a named peer that is not installed.
    """
    peers = []
    for name in dict.fromkeys(only if only is not None else MODULES):
        one = peer(name)
        missing = one.missing()
        if not missing:
            peers.append(one)
            continue
        told = f"{name} needs {', '.join(missing)}: `make bench` installs what the peers need, apart from .venv"
        if only is not None:
            raise UsageError(told)
        tell(f"left out: {told}")
    return peers


def bench(peers: Sequence[Peer], *, count: int, rounds: int, tell: Callable[[str], None]) -> Bench:
    """Run the peers; ``tell`` is told of each run as it ends.

    Raises ``PenstockError`` when a peer's workers end or stand still. Blocks for minutes.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError("the benchmarks read /proc, which only Linux has")
    loads = _loads({_share(one, count) for one in peers}, tell)
    runs: dict[str, list[Run]] = {one.name: [] for one in peers}
    with running() as (servers, folder):
        for number in range(rounds):
            at = number * len(peers) // rounds  # each begins elsewhere
            for one in (*peers[at:], *peers[:at]):
                made = run(one, servers, loads[_share(one, count)], folder / f"{number}-{one.name}")
                runs[one.name].append(made)
                tell(f"round {number + 1} of {rounds}: {told(one.name, made)}")
        versions = servers.versions
    return Bench(results=results(peers, runs), pages=count, rounds=rounds, versions=versions)


def _share(one: Peer, count: int) -> int:
    """Return how many pages a peer gets."""
    return count if one.share >= 1 else min(count, max(LEAST_PAGES, round(count * one.share)))


def _loads(sizes: set[int], tell: Callable[[str], None]) -> dict[int, Load]:
    began = time.monotonic()
    made = list(pages(max(sizes), SEED))
    loads = {size: Load(payloads=made[:size], wanted=expected(made[:size])) for size in sorted(sizes)}
    tell(f"{len(made):,} pages and what must become of them, made in {time.monotonic() - began:.1f} s")
    return loads


def told(name: str, one: Run) -> str:
    """Return a run in a line."""
    rows = "rows as they must be" if not one.wrong else "WRONG ROWS: " + "; ".join(one.wrong)
    return (
        f"{name} {one.pages_per_s:,.0f} pages/s, CPU {one.cpu_ms:.3f} ms a page ({one.workers_ms:.3f} workers, "
        f"{one.redis_ms:.3f} Redis, {one.database_ms:.3f} database), {one.peak_mb:.0f} MB, "
        f"{one.redis_bytes_per_page:,.0f} bytes queued a page, {one.pages:,} pages, {rows}"
    )


def results(peers: Sequence[Peer], runs: dict[str, list[Run]]) -> list[Result]:
    """Return the result of each peer from its runs, by name."""
    rates = {name: median(one.pages_per_s for one in some) for name, some in runs.items()}

    def ratio(name: str, base: str) -> float | None:
        return rates[name] / rates[base] if base in rates else None

    return [
        Result(
            peer=one,
            runs=runs[one.name],
            ratio_to_textbook=ratio(one.name, TEXTBOOK),
            ratio_to_plain_loop=ratio(one.name, LIMIT),
        )
        for one in peers
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
