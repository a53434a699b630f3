"""``penstock audit``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import Transient, UsageError
from worker.cli.output import Json, counts, say, say_json, warn

if TYPE_CHECKING:
    from worker.audit import Audit
    from worker.store import SqlStore
    from worker.stream import PageStream


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    *,
    json: Json = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print Prometheus' text format; exit 0 whatever it shows.")
    ] = False,
    acknowledge: Annotated[
        str | None,
        typer.Option(
            metavar="NOTE", help="Put the present difference on record as known, with a note.", show_default=False
        ),
    ] = None,
) -> None:
    """Check that every accepted payload has an outcome or is still in the stream; exit 1 if not."""
    import time

    from worker.audit import acknowledge as accept
    from worker.audit import audit as weigh
    from worker.runtime import open_store, open_stream, runtime

    if metrics and json:
        message = "--json and --metrics are two forms of the same: give one"
        raise UsageError(message)
    rt = runtime()
    stream, store = open_stream(rt), open_store(rt)
    if acknowledge is not None:
        differences = accept(stream, store, note=_note(acknowledge), now=time.time_ns() // 1000)
        for epoch, difference in differences.items():
            warn(f"acknowledged: a difference of {difference:,} in epoch {epoch}")
        if not differences:
            warn("the ledger balances: there is nothing to acknowledge")
    result = weigh(stream, store, search=not metrics)
    if metrics:
        _print_metrics(result, store)
    elif json:
        from dataclasses import asdict

        say_json(asdict(result))
    else:
        _print(result)
    _remember(stream, store, time.time_ns() // 1000)
    if not result.balanced and not metrics:
        raise typer.Exit(1)


def _remember(stream: PageStream, store: SqlStore, now: int) -> None:
    """Note in the store what Redis counts, so that the next audit tells when Redis has lost it."""
    with suppress(Transient):  # the answer stands; the workers note it too
        snapshot = stream.snapshot()
        if snapshot.epoch is not None:
            store.note_accepted(
                epoch=snapshot.epoch, accepted=snapshot.accepted, first_waiting=snapshot.first_id, now=now
            )


def _note(text: str) -> str:
    if not text.strip():
        message = "--acknowledge needs a note: say what happened"
        raise UsageError(message)
    return text.strip()


def _print_metrics(result: Audit, store: SqlStore) -> None:
    import sys
    import time

    from worker.audit.metrics import exposition

    sys.stdout.write(exposition(result, store.field_drifts(), now=time.time()))


def _print(result: Audit) -> None:
    say(f"accepted       {result.accepted:,}")
    say(f"outcomes       {sum(result.outcomes.values()):,} ({counts(dict(result.outcomes))})")
    say(f"in the stream  {result.in_stream:,}")
    if result.acknowledged:
        say(f"acknowledged   {result.acknowledged:,}")
    if not result.balanced:
        say(f"NOT BALANCED: difference {result.difference:,}")
    elif result.acknowledged:
        say("balanced but for what is acknowledged")
    else:
        say("balanced: nothing is missing")
    for line in result.explained:
        say(f"  {line}")
