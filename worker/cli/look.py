"""``penstock status``, ``show`` and ``similar``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.errors import UsageError
from worker.cli.output import Json, clean, counts, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command()(show)
    app.command()(similar)


def status(*, json: Json = False) -> None:
    """Show what is where: stream, outcomes, failures, items, sources."""
    from worker.status import read_status

    state = read_status()
    if json:
        say_json(state)
        return
    rows = [
        ("accepted", f"{state['accepted']:,}"),
        (
            "in the stream",
            f"{state['stream']:,} ({state['pending']:,} in a worker's hands, {state['parked']:,} parked)",
        ),
        ("outcomes", counts(state["outcomes"])),
        ("failures", counts(state["failures"])),
        ("items", _items(state)),
    ]
    for name, value in rows:
        say(f"{name:14} {value}")
    for name, reason in state["paused"].items():
        say(f"{'paused':14} {clean(name)}: {clean(reason)}; 'penstock sources resume {clean(name)}' lets it go on")
    if state["hosts_alone"]:
        say(f"{'left alone':14} hosts: {counts(state['hosts_alone'])}; 'penstock hosts' shows which")
    for name, count in state["over_budget"].items():
        say(f"{'over budget':14} {clean(name)}: {count:,} items wait for its next run or day")
    for one in state["drift"]:
        say(f"{'drift':14} {clean(_drift(one))}")
    if state["sources"]:
        say()
        names = ["source", "pages", "new", "revision", "unchanged", "duplicate", "failed"]
        table(names, ([name, *(one[field] for field in names[1:])] for name, one in state["sources"].items()))


def _items(state: Mapping[str, Any]) -> str:
    """Return the items by state, with what cut off those that are not followed."""
    bounds = ", ".join(f"{count:,} by {name}" for name, count in state["bounded"].items())
    return counts(state["items"]) + (f" (bounded: {bounds})" if bounds else "")


def _drift(one: Mapping[str, Any]) -> str:
    from tasks.ports import Drift

    found = Drift(one["source"], one["field"], one["kind"], one["before"], one["after"], over=False)
    return f"{found.sentence()} (since {one['since']})"


def show(
    key: Annotated[str, typer.Argument(help="SOURCE/ITEM, a URL, or a content hash.")],
    *,
    revision: Annotated[
        int | None, typer.Option(min=1, max=2**31, help="An older revision.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show a stored page."""
    from worker.runtime import open_store, runtime

    records = open_store(runtime()).find_pages(key, revision=revision)
    if not records:
        if revision and open_store(runtime()).find_pages(key):
            message = f"'{key}' has no revision {revision}"
        else:
            message = _no_page(key)
        raise UsageError(message)
    if json:
        say_json(records[0] if len(records) == 1 else records)
        return
    for at, record in enumerate(records):
        if at:
            say()
        _print_page(record)


def similar(
    key: Annotated[str, typer.Argument(help="SOURCE/ITEM, a URL, or a content hash.")],
    *,
    json: Json = False,
) -> None:
    """Show the pages with nearly the text of a page: its cluster of near-duplicates.

    Each with its estimated similarity to the page, from 0 to 1. The representative is the page that was seen first.
    """
    from worker.runtime import open_store, runtime

    found = open_store(runtime()).similar(key)
    if not found:
        raise UsageError(_no_page(key))
    if json:
        say_json(found[0] if len(found) == 1 else found)
        return
    for at, one in enumerate(found):
        if at:
            say()
        _print_cluster(one)


def _no_page(key: str) -> str:
    return f"no page for '{key}': give SOURCE/ITEM, a URL, or a content hash as 'penstock export' prints them"


def _print_cluster(one: Mapping[str, Any]) -> None:
    say(clean(one["key"]))
    if not one["compared"]:
        say("  its text is too short to be compared, or has not been compared yet")
    for member in one["members"]:
        mark = "representative" if member["representative"] else ""
        title = clean(member["title"] or "")
        say(
            f"  {member['similarity']:.2f}  {member['first_seen']}  {clean(member['key'])}  {mark:14}  {title}".rstrip()
        )


def _read_with(record: Mapping[str, Any]) -> str:
    profile = f", profile {record['profile_version']}" if record["profile_version"] else ""
    return f"{record['parser']} {record['parser_version']}{profile}"


_HEAD = (
    "title", "published_at", "modified_at", "authors", "section", "tags", "wire_service", "desk_code", "language",
    "url", "duplicate_of",
)  # fmt: skip


def _print_page(record: Mapping[str, Any]) -> None:
    say(f"{clean(record['key'])}, revision {record['revision']}")
    for name in _HEAD:
        value = record[name]
        if value:
            say(f"  {name.replace('_', ' '):13} {clean(', '.join(value) if isinstance(value, list) else value)}")
    if record["gone_at"]:
        say(f"  {'gone':13} {record['gone_at']}")
    if record["repaired"]:
        say(f"  {'repaired':13} {record['repaired']} bytes that were not UTF-8")
    say(f"  {'seen':13} {record['first_seen']} … {record['last_seen']}")
    say(f"  {'content hash':13} {record['content_hash']} ({_read_with(record)})")
    if record["near_duplicates"]:
        say(f"  {'similar':13} {clean(', '.join(record['near_duplicates']))}")
    for paragraph in record["paragraphs"]:
        say(f"\n{clean(paragraph)}")
    if record["related"]:
        say(f"\nrelated ({len(record['related'])}):")
        for one in record["related"]:
            say(f"  {clean(one['id']):>10}  {one['media_kind'] or '':5}  {clean(one['title'] or '')}")
