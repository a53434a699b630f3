"""``penstock hosts``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Json, clean, local_time, rfc3339, say, say_json, table, warn
from worker.cli.sources import require_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.fetch_ports import HostView, RobotsRow
    from worker.runtime import Runtime
    from worker.store import HostStanding

_US = 1_000_000
_REASONS = {"asked": "it asked for it", "down": "it is down", "robots": "its robots.txt cannot be had"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(hosts)


def hosts(
    *,
    source: Annotated[str | None, typer.Option(help="Only where items of this source are due.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """Show the hosts that are left alone, until when and why, and those where something is due, and at what pace."""
    from tasks.errors import StreamUnavailable
    from worker.runtime import open_gate, open_store, runtime

    rt = runtime()
    store, now = open_store(rt), time.time_ns() // 1000
    if source is not None:
        require_known(source, {*rt.profiles.names(), *store.known_sources()})
    found = store.standing(source=source, limit=limit, now=now)
    views: Mapping[str, HostView] = {}
    try:
        views = open_gate(rt, lambda: time.time_ns() // 1000).look({one.host for one in found})
    except StreamUnavailable as error:
        warn(f"penstock: without the pace of hosts: {error}")
    if json:
        say_json([_told(one, views.get(one.host), rt) for one in found])
    elif found:
        _print(found, views, now)
    else:
        say("nothing is due anywhere, and no host is left alone")


def _told(one: HostStanding, view: HostView | None, rt: Runtime) -> dict[str, Any]:
    from worker.store import MOST_COUNTED

    return {
        "host": one.host,
        "source": one.source,
        "due": one.due,
        "due_is_least": one.due >= MOST_COUNTED,
        "left_alone_until": rfc3339(one.pause.until) if one.pause else None,
        "reason": one.pause.reason if one.pause else None,
        "robots": _robots(one.robots, rt) if one.robots else None,
        "gate": _gate(view) if view else None,
    }


def _robots(row: RobotsRow, rt: Runtime) -> dict[str, Any]:
    delay = 0.0
    if row.body is not None:
        from tasks.steps.robots import product_token, read_rules

        delay = read_rules(row.body, product_token(rt.settings.user_agent)).crawl_delay
    expires_at = rfc3339(row.expires_at)
    return {"state": row.state, "status": row.status, "expires_at": expires_at, "crawl_delay_seconds": delay}


def _gate(view: HostView) -> dict[str, Any]:
    return {
        "next_at": rfc3339(view.next_at),
        "delay_seconds": view.delay_us / _US,
        "latency_seconds": view.latency_us / _US,
        "under_way": view.under_way,
        "failures": view.failures,
        "breaker": view.breaker,
    }


def _print(found: Sequence[HostStanding], views: Mapping[str, HostView], now: int) -> None:
    head = [
        "host",
        "source",
        "due",
        "next request",
        "seconds apart",
        "latency ms",
        "under way",
        "breaker",
        "robots.txt",
    ]
    table(head, (_row(one, views.get(one.host), now) for one in found))
    for one in found:
        if one.pause:
            reason = _REASONS.get(one.pause.reason, one.pause.reason)
            say(f"{clean(one.host)} is left alone until {local_time(one.pause.until)}: {reason}")


def _row(one: HostStanding, view: HostView | None, now: int) -> list[Any]:
    from worker.store import MOST_COUNTED

    due = f"{one.due:,}{' or more' if one.due >= MOST_COUNTED else ''}"
    starts_at = max(view.next_at if view else 0, one.pause.until if one.pause else 0)
    pace: list[Any] = [None] * 4
    if view:
        pace = [f"{view.delay_us / _US:g}", round(view.latency_us / 1000), view.under_way, view.breaker]
    robots = one.robots.state if one.robots else None
    return [one.host, one.source, due, local_time(starts_at) if starts_at > now else "now", *pace, robots]
