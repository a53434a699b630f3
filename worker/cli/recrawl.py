"""``penstock recrawl``."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import UsageError
from worker.cli.failures import MAX, DryRun
from worker.cli.output import Json, Note, operator, say, say_json
from worker.cli.sources import require_known
from worker.cli.times import micros_of
from worker.cli.trace import item_at

if TYPE_CHECKING:
    from tasks.steps.page import SourceProfile
    from worker.store import SqlStore


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(recrawl)


def recrawl(
    *,
    source: Annotated[str, typer.Option(help="Items of this source.")],
    older_than: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only those not looked at since: a time, a date, or an age (7d)."),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--item", "--url", help="Only this item ID or URL; may be repeated.", show_default=False),
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Also those that were not there any more.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, max=MAX, help="At most so many.", show_default=False)] = None,
    dry_run: DryRun = False,
    note: Note = "",
    json: Json = False,
) -> None:
    """Fetch stored pages of a source again: their items become due now. The workers do it, within its budgets."""
    from tasks.steps.policy import may_fetch
    from worker.runtime import open_store, runtime
    from worker.store import ItemFilter

    rt = runtime()
    store, profile = open_store(rt), rt.profiles.get(source)
    require_known(source, {*rt.profiles.names(), *store.known_sources()})
    _require_hosts(profile)
    where = ItemFilter(
        source=source,
        older_than=micros_of("--older-than", older_than),
        item_keys=tuple(_keys(store, profile, items)) if items else None,
        gone=gone,
    )
    allowed = partial(may_fetch, profile=profile)
    now, who = time.time_ns() // 1000, operator()
    count, left = store.recrawl(where, may_fetch=allowed, limit=limit, dry_run=dry_run, now=now, note=note, who=who)
    if json:
        say_json({"action": "recrawl", "count": count, "left": left, "dry_run": dry_run})
        return
    say(f"{count:,} items would be fetched again; nothing was changed" if dry_run else f"{count:,} items are due now")
    if left:
        say(f"{left:,} are left: their pages came from where nothing may be fetched, or under another URL")


def _require_hosts(profile: SourceProfile) -> None:
    if not profile.hosts and profile.item_url is None:
        message = f"nothing of {profile.name} may be fetched: give its profile hosts, or an item_url"
        raise UsageError(message)


def _keys(store: SqlStore, profile: SourceProfile, names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        item = item_at(name, profile)
        keys = store.item_keys(profile.name, name) or (store.item_keys(profile.name, item) if item else [])
        if not keys:
            message = f"nothing is known of '{name}' in {profile.name}: give an item ID or a URL"
            raise UsageError(message)
        found += keys
    return found
