"""The command line: one command, ``penstock``; each group of sub-commands in its own file.

Only the standard library, typer and rich are imported at the top of these files: ``penstock --help`` must be quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tasks.errors import PenstockError, Transient, UsageError
from worker.cli import archive, audit, bench, failures, hosts, ingress, look, recrawl, run, sources, trace
from worker.garbage import collect_seldom, leave_uncollected

EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="penstock",
    help="Streaming ingestion of crawled pages: parse, dedupe, follow, retry, and lose nothing.\n\n"
    "State lives under $PENSTOCK_HOME (default ./var). Without PENSTOCK_REDIS_URL and PENSTOCK_STORE_URL penstock "
    "runs its own Redis and an SQLite file there.\n\n"
    "Exit codes: 0 done, 1 the check failed, 2 bad usage or input, 75 try again later.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"penstock {version('penstock')}\n")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    pass


for group in (run, ingress, look, archive, trace, audit, failures, hosts, recrawl, sources, bench):
    group.register(app)


def main() -> None:
    """Run the command line; turn our errors into one sentence and the right exit code."""
    collect_seldom()
    try:
        app()
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(_exit_code(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output left, as with | head
            sys.stderr.close()
            sys.exit(0)
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"penstock: {where}{error.strerror or error}\n")
        sys.exit(EXIT_CHECK_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        leave_uncollected()


def _exit_code(error: PenstockError) -> int:
    if isinstance(error, Transient):
        return EXIT_TRY_LATER
    return EXIT_USAGE if isinstance(error, UsageError) or error.details.get("input") else EXIT_CHECK_FAILED
