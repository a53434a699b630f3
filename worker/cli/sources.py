"""``penstock sources``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import say, warn


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The source profiles.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(check)
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
        routes = profile.item_url or "no follow-ups"
        say(f"{name:16} {profile.parser or 'parser by content':18} {profile.timezone:18} {routes}")
    say(f"{len(profiles.names())} profiles, all valid" + (f" ({where})" if where else " (only the shipped ones)"))
