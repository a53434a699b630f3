"""``penstock sources``."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import UsageError
from worker.cli import trial
from worker.cli.output import Json, Note, clean, operator, say, say_json, table, warn

if TYPE_CHECKING:
    from tasks.steps.page import SourceProfile
    from worker.store import SourceChange

_COUNTS = ("pages", "new", "revision", "unchanged", "duplicate", "failed")

Name = Annotated[str, typer.Argument(help="The source's name.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The sources: their profiles, and which are paused.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(check)
    group.command("test")(trial.try_page)
    group.command("list")(list_sources)
    group.command()(pause)
    group.command()(resume)
    app.add_typer(group, name="sources")


def check(
    path: Annotated[
        Path | None, typer.Argument(help="A profile file; default: the one that penstock uses.", show_default=False)
    ] = None,
) -> None:
    """Validate the source profiles; every problem is told with where it is. Exit 2 if there is one."""
    from worker.config import load_settings
    from worker.plugins import load_parsers
    from worker.sources import check as problems_of
    from worker.sources import load_profiles

    load_parsers()
    where = path or load_settings().sources_path()
    problems = problems_of(where) if where else []
    for problem in problems:
        warn(problem)
    if problems:
        raise typer.Exit(2)
    profiles = load_profiles(where)
    for name in profiles.names():
        profile = profiles.get(name)
        say(f"{name:16} {profile.parser or 'parser by content':18} {profile.timezone:18} {_routes(profile)}")
    say(f"{len(profiles.names())} profiles, all valid" + (f" ({where})" if where else " (only the shipped ones)"))


def _routes(profile: SourceProfile) -> str:
    """Say where the source is looked for pages, and where those lead."""
    hosts = f"URLs at {', '.join(profile.hosts)}" if profile.hosts else "no follow-ups"
    count = len(profile.start)
    starts = f"; {count} start URL{'s' if count > 1 else ''}" if count else ""
    return (profile.item_url or hosts) + starts


def list_sources(*, json: Json = False) -> None:
    """List the sources: with a profile or without, paused or not, and what came of their pages."""
    from worker.runtime import open_store, open_stream, runtime

    rt = runtime()
    store = open_store(rt)
    counts, states, parked = store.counts().sources, store.source_states(), open_stream(rt).parked()
    rows = {
        name: {
            "profile": name in rt.profiles.names(),
            **states.get(name, {"state": "active", "since": None, "reason": None, "changed_by": None}),
            "parked": parked.get(name, 0),
            **counts.get(name, dict.fromkeys(_COUNTS, 0)),
        }
        for name in sorted({*rt.profiles.names(), *counts, *states, *parked})
    }
    if json:
        say_json(rows)
        return
    table(
        ["source", "profile", "state", "parked", *_COUNTS],
        (
            [name, "yes" if one["profile"] else "-", one["state"], one["parked"], *(one[field] for field in _COUNTS)]
            for name, one in rows.items()
        ),
    )
    for name, one in rows.items():
        if one["state"] == "paused":
            say(f"{clean(name)} is paused since {one['since']} by {clean(one['changed_by'])}: {clean(one['reason'])}")


def pause(name: Name, *, note: Note = "") -> None:
    """Pause a source: its pages wait in the stream, push refuses more, nothing of it is fetched or tried again."""
    from worker.runtime import open_store, open_stream, runtime

    rt = runtime()
    store = open_store(rt)
    require_known(name, {*rt.profiles.names(), *store.known_sources()})
    if not store.pause_source(name, _change(note or "paused by hand", note)):
        message = f"the source {name} is paused already: {store.paused_sources().get(name)}"
        raise UsageError(message)
    open_stream(rt).set_paused(store.paused_sources())
    say(f"{name} is paused; 'penstock sources resume {name}' lets it go on")


def resume(name: Name, *, note: Note = "") -> None:
    """Resume a source: the workers take its waiting pages within a second. Its failures count anew from now on."""
    from worker.runtime import open_store, open_stream, runtime

    rt = runtime()
    store, stream = open_store(rt), open_stream(rt)
    require_known(name, {*rt.profiles.names(), *store.known_sources(), *store.source_states()})
    waiting = stream.parked().get(name, 0)
    if not store.resume_source(name, _change(note or "resumed by hand", note), epoch=stream.epoch()):
        message = f"the source {name} is not paused"
        raise UsageError(message)
    stream.set_paused(store.paused_sources())
    say(f"{name} goes on; {waiting:,} of its pages waited in the stream")


def _change(reason: str, note: str) -> SourceChange:
    from tasks.steps.parse import PARSER_VERSIONS
    from worker.plugins import load_parsers
    from worker.store import SourceChange

    load_parsers()
    return SourceChange(reason, operator(), time.time_ns() // 1000, PARSER_VERSIONS, note)


def require_known(name: str, known: set[str]) -> None:
    """Raise ``UsageError`` for a source that is not known."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ": it has no profile, and no page of it has come"
        message = f"there is no source {name!r}{guess}"
        raise UsageError(message)
