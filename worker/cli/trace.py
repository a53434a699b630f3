"""``penstock trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.errors import StreamUnavailable, UsageError
from worker.cli.output import Json, clean, say, say_json, warn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.steps.page import SourceProfile
    from worker.sources import SourceProfiles
    from worker.store import SqlStore
    from worker.stream import PageStream

Trace = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(trace)


def trace(
    key: Annotated[
        str, typer.Argument(help="SOURCE/ITEM, a URL, a content hash, a stream entry's id, or a failure's number.")
    ],
    *,
    json: Json = False,
) -> None:
    """Tell everything that happened to a page: each step in order, where it came from, and where it is now.

    The ids are those of the log lines (entry, failure), of Sentry and of 'penstock failures'.
    """
    from worker.runtime import open_store, open_stream, runtime

    rt = runtime()
    found = _found(key, open_store(rt), rt.profiles)
    in_stream = _in_stream(key, found, open_stream(rt))
    if not found and in_stream:
        found = [_only_in_stream(in_stream)]
    if not found:
        message = (
            f"nothing is known of '{key}': give SOURCE/ITEM, a URL, a content hash, the id of a stream entry such as "
            "1700000000000-0, or the number of a failure. Of the pages that wait in the stream, the oldest "
            "20,000 were looked at"
        )
        raise UsageError(message)
    for one in found:
        one["now"]["stream"] = [place for place in in_stream if place["identity"] in {None, one["identity"]}]
    if json:
        also = [one["identity"] for one in found[1:]]
        say_json({"key": key, **found[0], **({"also": also} if also else {})})
        return
    for one in found:
        _print(one)


# --- finding ------------------------------------------------------------------------------------------------------


def _found(key: str, store: SqlStore, profiles: SourceProfiles) -> list[Trace]:
    found = store.trace(key)
    if not found:
        found = [one for other in _by_template(key, profiles) for one in store.trace(other)]
    return found


def _by_template(url: str, profiles: SourceProfiles) -> list[str]:
    """Return SOURCE/ITEM of each source whose item URLs look like this one."""
    found = {name: item_at(url, profiles.get(name)) for name in profiles.names()}
    return [f"{name}/{item}" for name, item in found.items() if item]


def item_at(url: str, profile: SourceProfile) -> str | None:
    """Return the ID of the item at a URL, if the source's item URLs look like it."""
    before, slot, after = (profile.item_url or "").partition("{id}")
    if slot and url.startswith(before) and url.endswith(after) and len(url) > len(before) + len(after):
        return url[len(before) : len(url) - len(after)]
    return None


def _in_stream(key: str, found: list[Trace], stream: PageStream) -> list[dict[str, Any]]:
    """Return where those entries are that the key, or an item that waits for its page, names."""
    from worker.store.identities import ENTRY

    wanted: dict[str, str | None] = {key: None} if ENTRY.fullmatch(key) else {}
    for one in found:
        item = one["now"]["item"]
        if item and item["state"] == "pushed" and item["pushed_entry"]:
            wanted[item["pushed_entry"]] = one["identity"]
    try:
        if not found and not wanted:
            wanted = dict.fromkeys(stream.named(key))
        places = [(entry, identity, stream.find(entry)) for entry, identity in wanted.items()]
    except StreamUnavailable as error:
        warn(f"penstock: what is in the stream cannot be told: {error}")
        return []
    return [_place(entry, identity, place) for entry, identity, place in places if place is not None]


def _place(entry: str, identity: str | None, place: Any) -> dict[str, Any]:
    from tasks.steps.payload import envelope_of

    payload = envelope_of(place.fields)
    state = "parked" if place.parked else "pending" if place.holder else "waiting"
    return {
        "entry": entry,
        "identity": identity,
        "state": state,  # parked: its source is paused; pending: a worker has it; waiting: nobody has read it
        "consumer": place.holder if state == "pending" else None,
        "idle_seconds": place.idle_ms / 1000,
        "deliveries": place.deliveries,
        "source": payload.source,
        "item": payload.item,
        "url": payload.url,
        "parent": payload.parent,
    }


def _only_in_stream(places: Sequence[Mapping[str, Any]]) -> Trace:
    """Return the trace of a page of which the store knows nothing yet."""
    from worker.cli.output import rfc3339

    first = places[0]
    source, item, parent = first["source"], first["item"] or first["url"], first["parent"]
    entries = [one["entry"] for one in places]
    return {
        "identity": f"{source}/{item}" if item else None,
        "steps": [
            {"at": rfc3339(int(entry.split("-")[0]) * 1000), "step": "pushed", "entry": entry} for entry in entries
        ],
        "parent": f"{source}/{parent}" if parent else None,
        "children": {"count": 0, "states": {}, "first": []},
        "now": {"source": {"state": "active"}, "page": None, "item": None, "failures": []},
    }


# --- printing -----------------------------------------------------------------------------------------------------

_PLAIN = ("at", "step")


def _print(one: Trace) -> None:
    say(clean(one["identity"] or "a page that no item ID or URL names"))
    if one["parent"]:
        say(f"  named by {clean(one['parent'])}")
    for step in one["steps"]:
        told = [f"{name} {clean(value)}" for name, value in step.items() if name not in _PLAIN and value is not None]
        say(f"  {step['at']}  {step['step']:12} {', '.join(told)}")
    _print_now(one["now"])
    children = one["children"]
    if children["count"]:
        states = ", ".join(f"{n} {state}" for state, n in children["states"].items())
        say(f"  names {children['count']} items: {states}")
        for child in children["first"]:
            say(f"    {clean(child['identity'])}  {child['state']}")


def _print_now(now: Mapping[str, Any]) -> None:
    if now["source"]["state"] == "paused":
        say(f"  now: its source is paused: {clean(now['source']['reason'])}")
    if now["page"]:
        say(f"  now: a page with {now['page']['revisions']} revisions, last seen {now['page']['last_seen']}")
    if now["item"]:
        say(f"  now: as an item {now['item']['state']}{_when(now['item']['next_fetch_at'])}")
    for failure in now["failures"]:
        say(f"  now: failure {failure['id']} is {failure['state']}{_when(failure['next_attempt_at'])}")
    for place in now["stream"]:
        held = f", held by {clean(place['consumer'])} for {place['idle_seconds']:.0f} s" if place["consumer"] else ""
        say(f"  now: entry {place['entry']} is in the stream, {place['state']}{held}, {place['deliveries']} deliveries")


def _when(moment: str | None) -> str:
    return f", due {moment}" if moment else ""
