"""A site that changes its template: the pulls count what is found, upkeep says what broke, status shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tasks.base import Context
from tasks.drift import watch_fields
from tasks.events import Event
from tasks.ingest import pull
from tasks.steps.page import Payload
from tests.support.contexts import Shifted, context_of
from tests.support.crawl import Crawl

DAY = 86_400.0


@pytest.fixture
def clock() -> Shifted:
    return Shifted(-2 * DAY)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def ctx(either_crawl: Crawl, tmp_path: Path, clock: Shifted, told: list[str]) -> Iterator[Context]:
    with context_of(either_crawl, tmp_path) as built:
        yield replace(built, clock=clock, report=lambda kind, message, **_: told.append(f"{kind}: {message}"))


def _html(number: int, *, headline: bool) -> bytes:
    title = f"<title>Report {number}</title>" if headline else ""
    text = f"The harbour master said that ship number {number} would leave by the evening tide after all."
    return f"<html><head>{title}</head><body><p>{text}</p></body></html>".encode()


def _come(ctx: Context, numbers: range, *, headline: bool) -> None:
    pages = [_html(number, headline=headline) for number in numbers]
    ctx.stream.push([Payload(source="port", item=str(n), body=body) for n, body in zip(numbers, pages, strict=True)])
    done = pull(ctx)
    while done["new"] < len(pages):  # a pull ends after half a second
        done += pull(ctx)


def _watched(ctx: Context) -> list[Any]:
    with capture_logs() as logs:
        watch_fields(ctx)
    return [line for line in logs if line["event"] in {Event.FIELD_DRIFTED, Event.FIELD_RECOVERED}]


def test_a_title_that_goes_missing_is_said_once_shown_and_reported(
    ctx: Context, clock: Shifted, told: list[str]
) -> None:
    _come(ctx, range(250), headline=True)
    assert _watched(ctx) == []
    clock.seconds = 0.0
    _come(ctx, range(250, 310), headline=False)
    (line,) = _watched(ctx)
    assert (line["event"], line["source"], line["field"], line["kind"]) == ("field.drifted", "port", "title", "fill")
    assert (line["before"], line["after"]) == (1.0, 0.0)
    assert told == ["FieldDrifted: title of port: in 0% of its pages, before in 100%"]
    assert _watched(ctx) == []  # it is not this process' turn again
    clock.seconds = 600.0
    assert _watched(ctx) == []  # and nothing is new


def test_a_page_that_comes_again_does_not_count_again(ctx: Context) -> None:
    _come(ctx, range(3), headline=True)
    ctx.stream.push([Payload(source="port", item="0", body=_html(0, headline=True))])
    assert pull(ctx) == {"unchanged": 1}
    with ctx.store._driver.transaction(write=False) as tx:  # type: ignore[attr-defined]
        assert tx.run("SELECT pages, filled FROM field_count WHERE field = 'title'") == [(3, 3)]
