"""Start URLs: due as soon as a profile names them, and then again and again."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.fetch_ports import Frontier, Planted
from tasks.ports import Profiles
from tasks.steps.canonical import host_of, normal_url
from tasks.steps.lists import start_key


def plant(frontier: Frontier, profiles: Profiles, *, now: int) -> int:
    """Make the start URLs of all sources due that nothing else makes due; return how many."""
    return frontier.plant(list(_planted(profiles)), now=now)


def _planted(profiles: Profiles) -> Iterator[Planted]:
    for source in profiles.names():
        for one in profiles.get(source).start:
            key, url = start_key(source, one), normal_url(one.url)
            host = host_of(url) if url else None
            if key and url and host:  # a profile with another one is refused before it comes here
                yield Planted(source, key, url, host, one.every)
