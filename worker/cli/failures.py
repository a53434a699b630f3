"""``penstock failures``, ``replay`` and ``drop``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import UsageError
from worker.cli.output import Json, Note, clean, operator, say, say_json, table
from worker.cli.times import micros_of

if TYPE_CHECKING:
    from worker.store import FailureFilter

MAX = 2**63 - 1  # what a database counts to

Source = Annotated[str | None, typer.Option(help="Only of this source.", show_default=False)]
ErrorClass = Annotated[str | None, typer.Option("--class", help="Only of this error class.", show_default=False)]
Fingerprint = Annotated[str | None, typer.Option(help="Only of this group.", show_default=False)]
Parser = Annotated[
    str | None, typer.Option(help="Only of this parser; none: where no parser was found.", show_default=False)
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Failed last at this time or later: a time, a date, or an age (6h).")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Failed last before this time.")]
State = Annotated[
    str | None, typer.Option(help="Only in this state: waiting, dead, resolved, dropped.", show_default=False)
]
Item = Annotated[str | None, typer.Option(help="Only of this item ID or URL.", show_default=False)]
Ids = Annotated[
    list[int] | None,
    typer.Option("--id", min=1, max=MAX, help="Only this failure; may be repeated.", show_default=False),
]
Limit = Annotated[int | None, typer.Option(min=1, max=MAX, help="At most so many, oldest first.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]
All = Annotated[bool, typer.Option("--all", help="Every open failure, without a filter.")]

STATES = ("waiting", "dead", "resolved", "dropped")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(failures)
    app.command()(replay)
    app.command()(drop)


def _filter(
    *, ids: list[int] | None = None, since: str | None, until: str | None, **named: str | None
) -> FailureFilter:
    """Return the filter that the options make; ``named`` has those that are words."""
    from worker.store import FailureFilter

    state = named["state"]
    if state is not None and state not in STATES:
        message = f"--state is one of {', '.join(STATES)}, not '{state}'"
        raise UsageError(message)
    return FailureFilter(
        ids=tuple(ids) if ids else None,
        since=micros_of("--since", since),
        until=micros_of("--until", until),
        **named,
    )


def failures(
    *,
    fingerprint: Annotated[
        str | None, typer.Option(help="List the single failures of this group.", show_default=False)
    ] = None,
    source: Source = None,
    error_class: ErrorClass = None,
    parser: Parser = None,
    state: State = None,
    item: Item = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    payload: Annotated[
        int | None,
        typer.Option(metavar="ID", min=1, max=MAX, help="Write the bytes of this failure to standard output."),
    ] = None,
    json: Json = False,
) -> None:
    """List failures, grouped by fingerprint; with --fingerprint, one by one."""
    from worker.runtime import open_store, runtime

    store = open_store(runtime())
    if payload is not None:
        sys.stdout.buffer.write(store.failure_payload(payload))
        sys.stdout.buffer.flush()
        return
    where = _filter(
        source=source,
        error_class=error_class,
        fingerprint=fingerprint,
        parser=parser,
        state=state,
        item=item,
        since=since,
        until=until,
    )
    single = fingerprint is not None or item is not None
    rows = store.failures(where, limit=limit) if single else store.failure_groups(where)[:limit]
    if json:
        say_json(rows)
    elif not rows:
        say("no failures")
    elif single:
        names = ["id", "item", "error_class", "state", "attempts", "next_attempt_at", "size", "message"]
        table(names, ([row[name] for name in names] for row in rows))
    else:
        names = ["fingerprint", "error_class", "source", "count", "state", "last_failed_at", "message"]
        table(names, ([clean(row[name])[:100] for name in names] for row in rows))


def replay(
    *,
    source: Source = None,
    error_class: ErrorClass = None,
    fingerprint: Fingerprint = None,
    parser: Parser = None,
    state: State = None,
    item: Item = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    limit: Limit = None,
    dry_run: DryRun = False,
    note: Note = "",
    json: Json = False,
) -> None:
    """Try failures again: they become due now, with a new budget of attempts.

    A failed payload is parsed again from its stored bytes, a failed fetch is fetched again. The workers do it.
    """
    where = _filter(
        source=source,
        error_class=error_class,
        fingerprint=fingerprint,
        parser=parser,
        state=state,
        item=item,
        ids=ids,
        since=since,
        until=until,
    )
    _require_choice(where, everything=everything)
    _act("replay", where, limit=limit, dry_run=dry_run, note=note, json=json)


def drop(
    *,
    source: Source = None,
    error_class: ErrorClass = None,
    fingerprint: Fingerprint = None,
    parser: Parser = None,
    state: State = None,
    item: Item = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    limit: Limit = None,
    dry_run: DryRun = False,
    note: Note = "",
    json: Json = False,
) -> None:
    """Give failures up: they stay on record, with their bytes, and are not tried again."""
    where = _filter(
        source=source,
        error_class=error_class,
        fingerprint=fingerprint,
        parser=parser,
        state=state,
        item=item,
        ids=ids,
        since=since,
        until=until,
    )
    _require_choice(where, everything=everything)
    _act("drop", where, limit=limit, dry_run=dry_run, note=note, json=json)


def _require_choice(where: FailureFilter, *, everything: bool) -> None:
    if bool(where.told()) == everything:
        message = "say which failures: a filter such as --class or --fingerprint, or else --all"
        raise UsageError(message)


def _act(action: str, where: FailureFilter, *, limit: int | None, dry_run: bool, note: str, json: bool) -> None:
    from worker.runtime import open_store, runtime

    store = open_store(runtime())
    act = store.replay if action == "replay" else store.drop
    count = act(where, limit=limit, dry_run=dry_run, now=time.time_ns() // 1000, note=note, who=operator())
    if json:
        say_json({"action": action, "count": count, "dry_run": dry_run})
    elif dry_run:
        say(f"{count:,} failures would be {'replayed' if action == 'replay' else 'dropped'}; nothing was changed")
    else:
        say(f"{count:,} failures {'are due now' if action == 'replay' else 'dropped'}")
