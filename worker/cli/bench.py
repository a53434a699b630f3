"""``penstock bench``."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tasks.errors import UsageError
from worker.cli.output import Json, say_json, table, warn

if TYPE_CHECKING:
    from benchmarks.rounds import Result

_CHECKOUT = Path(__file__).resolve().parents[2]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    *,
    pages: Annotated[int, typer.Option(min=100, help="Pages of a run; a task a page gets a tenth.")] = 20_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each peer runs.")] = 3,
    only: Annotated[
        str | None, typer.Option(help="Only some of the peers (comma-separated).", show_default=False)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write the report, in Markdown.", show_default=False, dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the benchmarks: penstock beside other ways to do the same work.

    In a checkout only, on Linux. Redis and PostgreSQL are started for it in a temporary folder. Peers that are not
    installed are left out; `make bench` installs them all. Exits 1 when the rows of a peer are not what they must be.
    """
    if not (_CHECKOUT / "benchmarks" / "rounds.py").is_file():
        raise UsageError("the benchmarks are not installed with penstock: run this in a checkout of its sources")
    from benchmarks import rounds as benchmarks

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # what was started is to end too
    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    if names == []:
        raise UsageError("--only names no peer")
    chosen = benchmarks.chosen(names, tell)
    made = benchmarks.bench(chosen, count=pages, rounds=rounds, tell=tell)
    if report is not None:
        from benchmarks.report import write

        write(report, made, shlex.join(["penstock", *sys.argv[1:]]))
    if as_json:
        say_json([result.to_json() for result in made.results])
    else:
        _print(made.results)
    if not all(result.rows_ok for result in made.results):
        raise typer.Exit(1)


def tell(line: str) -> None:
    """Print how far it is to standard error."""
    warn(f"penstock: {line}")


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _print(results: Sequence[Result]) -> None:
    table(
        ("peer", "pages/s", "x textbook", "CPU ms a page", "peak MB", "Redis bytes a page", "rows"),
        [
            (
                result.peer.name,
                f"{result.middle('pages_per_s'):.0f}",
                None if result.ratio_to_textbook is None else f"{result.ratio_to_textbook:.1f}",
                f"{result.middle('cpu_ms'):.3f}",
                f"{result.middle('peak_mb'):.0f}",
                f"{result.middle('redis_bytes_per_page'):.0f}",
                "right" if result.rows_ok else "WRONG",
            )
            for result in results
        ],
    )
