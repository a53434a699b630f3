"""``penstock hosts``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Json, clean, local_time, rfc3339, say, say_json, table, warn
from worker.cli.sources import require_known

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tasks.fetch_ports import HostView, RobotsRow
    from worker.runtime import Runtime
    from worker.store import CutItems, HostStanding

_US = 1_000_000
_REASONS = {"asked": "it asked for it", "down": "it is down", "robots": "its robots.txt cannot be had"}
_STATES = ("due", "scheduled", "leased", "fetched", "failed", "bounded")  # that have a column
_GATE = ("next request", "seconds apart", "latency ms", "under way", "breaker")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(hosts)


def hosts(
    *,
    source: Annotated[str | None, typer.Option(help="Only what is of this source.")] = None,
    bounded: Annotated[
        bool,
        typer.Option(
            "--bounded",
            help="Instead, what is not followed: beyond depth or page, a trap, forbidden by robots (robots.txt), "
            "unroutable (out of the source's hosts, or without a URL).",
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """Show the hosts that are left alone, until when and why, and the others, the busiest first, and at what pace."""
    from worker.runtime import open_store, runtime

    rt = runtime()
    store, now = open_store(rt), time.time_ns() // 1000
    if source is not None:
        require_known(source, {*rt.profiles.names(), *store.known_sources()})
    if bounded:
        _show_cut(store.cut_items(source=source, limit=limit), json=json)
        return
    found = store.standing(source=source, limit=limit, now=now)
    views = _views(rt, {one.host for one in found})
    if json:
        say_json([_told(one, views.get(one.host), rt) for one in found])
    elif found:
        _print(found, views, rt, now)
    else:
        say("nothing is known of any host")


def _views(rt: Runtime, names: Collection[str]) -> Mapping[str, HostView]:
    from tasks.errors import StreamUnavailable
    from worker.runtime import open_gate

    try:
        return open_gate(rt, lambda: time.time_ns() // 1000).look(names)
    except StreamUnavailable as error:
        warn(f"penstock: without the pace of hosts: {error}")
        return {}


def _show_cut(found: Sequence[CutItems], *, json: bool) -> None:
    from dataclasses import asdict

    if json:
        say_json([asdict(one) for one in found])
    elif found:
        rows = ((one.source, one.bound, _number(one.count, one.is_least), one.sample) for one in found)
        table(["source", "bound", "items", "one of them"], rows)
    else:
        say("everything is followed")


def _told(one: HostStanding, view: HostView | None, rt: Runtime) -> dict[str, Any]:
    return {
        "host": one.host,
        "source": one.source,
        "items": one.items,
        "is_least": one.is_least,
        "next_at": rfc3339(one.next_at) if one.next_at is not None else None,
        "left_alone_until": rfc3339(one.pause.until) if one.pause else None,
        "reason": one.pause.reason if one.pause else None,
        "robots": _robots(one.robots, rt) if one.robots else None,
        "gate": _gate(view) if view else None,
    }


def _robots(row: RobotsRow, rt: Runtime) -> dict[str, Any]:
    expires_at, delay = rfc3339(row.expires_at), _crawl_delay(row, rt)
    return {"state": row.state, "status": row.status, "expires_at": expires_at, "crawl_delay_seconds": delay}


def _crawl_delay(row: RobotsRow, rt: Runtime) -> float:
    if row.body is None:
        return 0.0
    from tasks.steps.robots import product_token, read_rules

    return read_rules(row.body, product_token(rt.settings.user_agent)).crawl_delay


def _gate(view: HostView) -> dict[str, Any]:
    return {
        "next_at": rfc3339(view.next_at),
        "delay_seconds": view.delay_us / _US,
        "latency_seconds": view.latency_us / _US,
        "under_way": view.under_way,
        "failures": view.failures,
        "breaker": view.breaker,
    }


def _print(found: Sequence[HostStanding], views: Mapping[str, HostView], rt: Runtime, now: int) -> None:
    head = ["host", "source", *_STATES, "next due", *_GATE, "robots.txt"]
    table(head, (_row(one, views.get(one.host), rt, now) for one in found))
    for one in {one.host: one for one in found}.values():
        if one.pause:
            reason = _REASONS.get(one.pause.reason, one.pause.reason)
            say(f"{clean(one.host)} is left alone until {local_time(one.pause.until)}: {reason}")
    if any(one.is_least for one in found):
        say("not all items were looked at: '+' stands where there may be more, and what is next may be due sooner")


def _row(one: HostStanding, view: HostView | None, rt: Runtime, now: int) -> list[Any]:
    numbers = [_number(one.items.get(state, 0), one.is_least) for state in _STATES]
    next_due = now if one.due else one.next_at
    starts_at = max(view.next_at if view else 0, one.pause.until if one.pause else 0)
    pace: list[Any] = [None] * 4
    if view:
        pace = [f"{view.delay_us / _US:g}", round(view.latency_us / 1000), view.under_way, view.breaker]
    robots = _robots_told(one.robots, rt) if one.robots else None
    return [one.host, one.source, *numbers, _time(next_due, now), _time(starts_at, now), *pace, robots]


def _number(count: int, is_least: bool) -> str:
    return f"{count:,}{'+' if is_least else ''}"


def _time(at: int | None, now: int) -> str:
    return "now" if at is not None and at <= now else local_time(at)


def _robots_told(row: RobotsRow, rt: Runtime) -> str:
    delay = _crawl_delay(row, rt)
    return f"{row.state} until {local_time(row.expires_at)}" + (f", {delay:g} s apart" if delay else "")
