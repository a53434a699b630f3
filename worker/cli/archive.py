"""``penstock reparse`` and ``export``: what the stored bytes are for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.errors import UsageError
from worker.cli.output import Json, clean, counts, say, warn
from worker.cli.target import Write, writing
from worker.cli.times import micros_of

if TYPE_CHECKING:
    from tasks.steps.page import PageResult, Payload
    from worker.reparse import Looked, Summary
    from worker.runtime import Runtime
    from worker.store import PageFilter

Source = Annotated[str | None, typer.Option(help="Only pages of this source.", show_default=False)]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only pages seen at or after this time: RFC 3339, a date, or an age like 7d.",
        show_default=False,
    ),
]
FORMATS = ("ndjson", "warc")
STATES = ("equal", "fields_changed", "content_changed", "failed", "without_bytes", "changed_meanwhile")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(export)
    app.command()(reparse)


def export(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file; default: standard output.", show_default=False)
    ] = None,
    form: Annotated[str, typer.Option("--format", help="ndjson (pages) or warc (raw archive).")] = "ndjson",
    source: Source = None,
    since: Since = None,
) -> None:
    """Write pages out, or the bytes that they came as.

    ndjson: one record a line for each page, in the form that 'show --json' prints. warc: one gzipped WARC 1.1 record
    for the bytes of each revision and of each open failure, with their envelopes; 'push' reads it back.

    A file has its name only when it is whole.
    """
    if form not in FORMATS:
        message = f"--format is {' or '.join(FORMATS)}, not '{form}'"
        raise UsageError(message)
    after = micros_of("--since", since)
    with writing(out) as write:
        if form == "ndjson":
            _export_pages(write, source, after)
        else:
            _export_archive(write, source, after)


def _export_pages(write: Write, source: str | None, since: int | None) -> None:
    import orjson

    from worker.runtime import open_store, runtime

    for record in open_store(runtime()).export(source=source, since=since):
        write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _export_archive(write: Write, source: str | None, since: int | None) -> None:
    from datetime import UTC, datetime
    from importlib.metadata import version

    from worker.runtime import open_store, runtime
    from worker.warc_writer import records

    archive = open_store(runtime()).archive(source=source, since=since)
    missing = 0
    for record in records(archive, f"penstock/{version('penstock')}", datetime.now(UTC)):
        if record is None:
            missing += 1
        else:
            write(record)
    if missing:
        warn(f"penstock: the bytes of {missing:,} revisions and failures are not kept any more; they are left out")


def reparse(
    *,
    source: Source = None,
    since: Since = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only pages seen last before this time.", show_default=False)
    ] = None,
    parser: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only pages that this parser read.", show_default=False)
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pages.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also pages that today's parsers have read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")] = False,
    json: Json = False,
) -> None:
    """Run today's parsers over the stored bytes of pages, each in its present revision. Fetches nothing.

    Another text becomes a new revision, beside the old one; other fields are changed where they stand. A page that
    today's parsers do not understand stays as it is. Pages that today's parsers have read are passed over, so a
    reparse that was interrupted goes on when it is started again.

    --json prints one object; its list "differences" has a line for each page that differs, fails, or has no bytes.

    The exit code is 1 when a page failed: it was understood once.
    """
    from worker.reparse import Reparse, Summary
    from worker.runtime import open_store, runtime

    rt = runtime()
    told = {"source": source, "since": since, "until": until, "parser": parser, "limit": limit, "all": everything}
    where = _filter(rt, source, micros_of("--since", since), micros_of("--until", until), parser, everything=everything)
    store = open_store(rt)
    with _understanding(rt) as understand:
        action = None if dry_run else store.reparse_begins({k: v for k, v in told.items() if v}, now=_now())
        looked = _watched(Reparse(store, understand, now=_now, action=action).run(where, limit))
        summary = Summary()
        if json:
            _print_json(looked, summary, dry_run=dry_run)
        else:
            _print(looked, summary, dry_run=dry_run)
    if summary.errors:
        raise typer.Exit(1)


def _now() -> int:
    return time.time_ns() // 1000


def _filter(
    rt: Runtime, source: str | None, since: int | None, until: int | None, parser: str | None, *, everything: bool
) -> PageFilter:
    from tasks.steps.parse import PARSER_VERSIONS
    from worker.plugins import load_parsers
    from worker.store import PageFilter

    load_parsers()
    if parser is not None and parser not in PARSER_VERSIONS:
        names = ", ".join(name for name in PARSER_VERSIONS if name != "none")
        warn(f"penstock: there is no parser '{parser}' any more, only {names}; looking for pages that it read")
    return PageFilter(
        source=source,
        since=since,
        until=until,
        parser=parser,
        older_than=None if everything else dict(PARSER_VERSIONS),
        profiles=rt.profiles.versions(),
    )


@contextmanager
def _understanding(rt: Runtime) -> Iterator[Callable[[Payload], PageResult]]:
    """Yield what parses a page in a process of its own, which a hostile page may end."""
    from tasks.errors import Undecided
    from worker.app import open_sandbox

    sandbox = open_sandbox(rt.settings)

    def understand(payload: Payload) -> PageResult:
        while True:
            try:
                return sandbox.understand(payload, rt.profiles.get(payload.source))
            except Undecided:  # what ended the process may have come from outside; the next trials tell
                continue

    try:
        yield understand
    finally:
        sandbox.close()


def _watched(looked: Iterator[Looked]) -> Iterator[Looked]:
    """Say on a terminal how far it is, once a second."""
    if not sys.stderr.isatty():
        yield from looked
        return
    due = time.monotonic() + 1
    for count, one in enumerate(looked, 1):
        yield one
        if time.monotonic() >= due:
            due = time.monotonic() + 1
            sys.stderr.write(f"{count:,} pages\r")
            sys.stderr.flush()


def _print(looked: Iterator[Looked], summary: Summary, *, dry_run: bool) -> None:
    from worker.cli.differences import print_differences

    try:
        for one in looked:
            summary.add(one)
            if one.error is not None:
                say(f"{clean(one.key)}: {one.error.error_class}: {clean(one.error.message)}")
            elif dry_run and one.is_other:
                print_differences(one)
    finally:
        _print_summary(summary.record(), dry_run=dry_run)


def _print_summary(record: dict[str, Any], *, dry_run: bool) -> None:
    states = {name.replace("_", " "): record[name] for name in STATES}
    say(f"{record['pages']:,} pages looked at, each in its present revision: {counts(states)}")
    if record["by_field"]:
        say(f"fields: {counts(record['by_field'])}")
    if record["by_error_class"]:
        say(f"failed: {counts(record['by_error_class'])}; these pages stay as they are")
    if record["without_bytes"]:
        say(f"the bytes of {record['without_bytes']:,} pages are not kept any more; they stay as they are")
    if dry_run:
        say("nothing was changed")


def _print_json(looked: Iterator[Looked], summary: Summary, *, dry_run: bool) -> None:
    """Print one object as it grows: in memory there is one page of it at a time."""
    import orjson

    def put(data: bytes) -> None:
        sys.stdout.buffer.write(data)

    complete, separator = False, b""
    put(b'{"differences":[')
    try:
        for one in looked:
            summary.add(one)
            if one.differs:
                put(separator + b"\n" + orjson.dumps(one.record()))
                separator = b","
        complete = True
    finally:
        rest = {**summary.record(), "dry_run": dry_run, "complete": complete}
        put(b"\n]," + orjson.dumps(rest)[1:] + b"\n")
        sys.stdout.buffer.flush()
