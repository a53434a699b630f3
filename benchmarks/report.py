"""The report in Markdown: what was measured, on what, how, and with which settings."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.peers import PROCESSES
from benchmarks.rounds import Bench, Result

_BAR: Final = 50  # characters of the longest one
_PACKAGES: Final = (
    "celery",
    "kombu",
    "redis",
    "psycopg",
    "dramatiq",
    "taskiq",
    "taskiq-redis",
    "Scrapy",
    "scrapy-redis",
    "faststream",
    "bytewax",
)

_METHOD: Final = """\
Every peer gets pages of the same seeded generator (`benchmarks/pages.py`): a news crawl in the vardump form, some
4.5 KB a page, 14 related items drawn Zipf-like from 5,000,000, 20 % exact repeats, 5 % revisions, 5 % near-duplicates,
1 % broken. A page is decoded, parsed and hashed by the same steps (`tasks.steps`), and in one PostgreSQL transaction
its page, revision (text, related items), bytes (zstd level 3), items, outcome and, where it is broken, failure are
written: by penstock and the plain loop into penstock's tables, by the others into tables of their own
(`benchmarks/tables.sql`, `benchmarks/work.py`). After each run the rows are compared with a reference that is worked
out page by page; a peer whose rows are wrong fails the benchmark.

- The queue is filled first, then {processes} worker processes start. Clock and CPU times run from the first look that
  finds pages handled to the last commit; the pages handled at that first look do not count. Runs are interleaved, and
  each round begins with another peer. Peers with a task a page get {share} of the pages, as their cost does not
  depend on how many wait.
- CPU is user and system time, from `/proc`, of the workers and all that they started, of Redis, and of all of
  PostgreSQL's processes. A peer's memory is the highest sum of its workers' proportional set sizes (PSS), sampled every
  two seconds.
- Redis' bytes a page: `used_memory` when the queue is full less that before, by the number of pages.
- Servers are penstock's embedded ones with their defaults, on Unix sockets: Redis with an append-only file (fsync every
  second), PostgreSQL with fsync and synchronous commits. Each run has a fresh database and an empty Redis, and begins
  after a checkpoint.
"""


def write(path: Path, bench: Bench, command: str) -> None:
    """Write the report. Raises ``OSError``."""
    path.write_text(render(bench, command), encoding="utf-8")


def render(bench: Bench, command: str) -> str:
    """Return the report."""
    share = min((result.peer.share for result in bench.results), default=1.0)
    by_rate = sorted(bench.results, key=lambda one: one.middle("pages_per_s"), reverse=True)
    parts = [
        "# Benchmark",
        f"Made by `{command}`: {bench.pages:,} pages, {_counted(bench.rounds, 'round')}, medians with (least to most).",
        table(_machine(bench), ("Machine", "")),
        "## Pages a second",
        table(map(_rate_row, by_rate), _RATE_HEAD),
        _chart("pages/s", [(one.peer.name, one.middle("pages_per_s"), "{:,.0f}") for one in by_rate]),
        "## CPU, memory and queue",
        table(map(_cost_row, by_rate), _COST_HEAD),
        _chart("CPU ms a page", [(one.peer.name, one.middle("cpu_ms"), "{:.3f}") for one in by_rate]),
        "## How it is measured",
        _METHOD.format(processes=PROCESSES, share="all" if share >= 1 else f"{share:.0%}"),
        "## The peers",
        table(((one.peer.name, one.peer.settings) for one in bench.results), ("Peer", "Settings")),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


_RATE_HEAD: Final = ("Peer", "Pages/s", "x textbook", "x plain loop", "Pushed/s", "Pages a run", "Rows")
_COST_HEAD: Final = ("Peer", "CPU ms a page", "Workers", "Redis", "Database", "Peak MB", "Redis bytes a page")


def _rate_row(one: Result) -> Sequence[str]:
    return (
        one.peer.name,
        _spread(one, "pages_per_s", "{:,.0f}"),
        _times(one.ratio_to_textbook, "{:.1f}"),
        _times(one.ratio_to_plain_loop, "{:.2f}"),
        f"{one.middle('pushed_per_s'):,.0f}",
        f"{one.runs[0].pages:,}",
        "right" if one.rows_ok else "**wrong**",
    )


def _cost_row(one: Result) -> Sequence[str]:
    return (
        one.peer.name,
        _spread(one, "cpu_ms", "{:.3f}"),
        *(f"{one.middle(name):.3f}" for name in ("workers_ms", "redis_ms", "database_ms")),
        f"{one.middle('peak_mb'):.0f}",
        f"{one.middle('redis_bytes_per_page'):,.0f}",
    )


def _spread(one: Result, name: str, form: str) -> str:
    values = one.values(name)
    return f"{form.format(one.middle(name))} ({form.format(min(values))} to {form.format(max(values))})"


def _times(ratio: float | None, form: str) -> str:
    return "" if ratio is None else form.format(ratio)


def _chart(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """Draw bars as text, which GitHub shows as it is."""
    longest = max((value for _, value, _ in bars), default=1.0)
    width = max((len(name) for name, _, _ in bars), default=0)
    lines = [
        f"{name:{width}}  {'█' * max(1, round(value / longest * _BAR)):{_BAR}}  {form.format(value)}"
        for name, value, form in bars
    ]
    return "\n".join(["```text", title, *lines, "```"])


def table(rows: Iterable[Sequence[str]], head: Sequence[str]) -> str:
    """Return a table in Markdown, with names on the left and numbers on the right."""
    numbers = ["---" if at == 0 or len(head) == 2 else "---:" for at in range(len(head))]  # noqa: PLR2004 (name and text)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, numbers, *rows))


def _machine(bench: Bench) -> list[Sequence[str]]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _installed(name)) is not None)
    return [
        ("Time", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("Processor", f"{_processor()}, {_counted(len(os.sched_getaffinity(0)), 'core')}"),
        ("Memory", f"{memory:.0f} GiB"),
        ("System", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("Servers", ", ".join(f"{name} {number}" for name, number in bench.versions.items())),
        ("Packages", packages),
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
