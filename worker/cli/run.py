"""``penstock demo``, ``up`` and ``work``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import UsageError
from worker.cli.output import warn

if TYPE_CHECKING:
    from celery import Celery

ROLE_NAMES = ("ingest", "retry", "fetch")

Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", min=1, help="Processes that ingest; default: one a core.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(demo)
    app.command()(up)
    app.command()(work)


def demo(
    *,
    articles: Annotated[int, typer.Option(min=40, help="How many articles the site has.")] = 300,
    seed: Annotated[int, typer.Option(help="What the site is generated from.")] = 7,
) -> None:
    """Run the whole system on a local demo site, with live progress and a summary.

    A news site on loopback with articles in three formats, duplicates, edits, and planted faults. penstock gets a
    handful of start pages and follows the rest. Everything is kept under $PENSTOCK_HOME/demo.
    """
    from worker.demo.run import run_demo

    raise typer.Exit(run_demo(articles=articles, seed=seed))


def up(*, concurrency: Concurrency = None) -> None:
    """Run everything on this machine until Ctrl-C: Redis, workers, and the task dashboard."""
    from worker.up import run_up

    raise typer.Exit(run_up(concurrency))


def work(
    *,
    only: Annotated[
        str | None, typer.Option(help="Only some of: ingest, retry, fetch (comma-separated).", show_default=False)
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="End when there is nothing left to do.")] = False,
    concurrency: Concurrency = None,
) -> None:
    """Run workers.

    With --drain they end when what they work on is empty: the stream, the retries that are due, the fetches that
    are due.
    """
    from worker.lifetime import asked_to_stop, run_again_after
    from worker.runtime import open_store, runtime
    from worker.supervisor import worker_arguments

    roles = _roles(only)
    rt = runtime()
    open_store(rt).close()  # a wrong store is told here, in one sentence, before any process is started
    processes = concurrency or rt.settings.concurrency
    os.environ["PENSTOCK_RUN"] = rt.run
    if drain:
        from worker.drain import drain as run_drain

        raise typer.Exit(run_drain(rt, roles, processes))
    from worker.app import app

    # Celery warns of root because of pickle, which is not accepted here.
    warnings.filterwarnings("ignore", module="celery.platforms")
    arguments = worker_arguments(roles, processes)
    raise typer.Exit(run_again_after(lambda: _run_celery(app, arguments), asked_to_stop))


def _run_celery(app: Celery, arguments: Sequence[str]) -> int:
    """Run ``celery worker`` and return its exit code, which ``app.worker_main`` keeps to itself.

    A worker that ended by an error must not look as if it had been asked to. The command ``celery`` around it would
    load all the others first, and Flower.
    """
    from celery.bin.base import CLIContext
    from celery.bin.worker import worker as command

    context = CLIContext(app=app, no_color=True, workdir=None, quiet=True)
    return command.main(args=list(arguments), obj=context, standalone_mode=False) or 0


def _roles(only: str | None) -> list[str]:
    if only is None:
        return list(ROLE_NAMES)
    names = [name.strip() for name in only.split(",") if name.strip()]
    wrong = [name for name in names if name not in ROLE_NAMES]
    if wrong or not names:
        message = f"--only takes {', '.join(ROLE_NAMES)}, comma-separated, not '{only}'"
        raise UsageError(message)
    if len(set(names)) != len(names):
        warn(f"penstock: --only names a role twice: {only}")
    return [name for name in ROLE_NAMES if name in names]
