from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from tasks.errors import Malformed, Truncated
from tasks.steps.page import Payload, SourceProfile
from tasks.steps.parse import parse
from tasks.steps.tracebacks import traceback_of

BODIES = {
    "cut": b'Thu Feb 24, 2022 07:41:09\nText.\nstring(9) "[]',
    "undated": b"Text.\n",
    "not json": b'Thu Feb 24, 2022 07:41:09\nText.\nstring(2) "[["',
    "empty": b"",
}


def ours() -> None:
    raise Truncated("the page ends")


def noted() -> None:
    error = Malformed("a line\nand another")
    error.add_note("a note")
    raise error


def foreign() -> None:
    int("x")


def caused() -> None:
    try:
        foreign()
    except ValueError as error:
        raise Malformed("told") from error


def met_on_the_way() -> None:
    try:
        foreign()
    except ValueError:
        ours()


def hidden() -> None:
    try:
        foreign()
    except ValueError:
        raise Malformed("told") from None


def deep(levels: int = 12) -> None:
    return deep(levels - 1) if levels else ours()


def grouped() -> None:
    raise ExceptionGroup("two", [Truncated("one"), ValueError("other")])


def caught(run: Callable[[], object]) -> Exception:
    try:
        run()
    except Exception as error:  # noqa: BLE001 (of any kind)
        return error
    raise AssertionError


@pytest.mark.parametrize("run", [ours, noted, foreign, caused, met_on_the_way, hidden, deep, grouped])
def test_a_traceback_reads_as_the_standard_library_writes_it(run: Callable[[], None]) -> None:
    for _ in range(2):
        error = caught(run)
        assert traceback_of(error) == "".join(traceback.format_exception(error))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_traceback_of_a_page_does_too(body: bytes) -> None:
    for source in ("a", "b"):
        payload = Payload(source=source, body=body)
        error = caught(lambda: parse(payload, SourceProfile(name=source, parser="vardump")))  # noqa: B023 (called at once)
        assert traceback_of(error) == "".join(traceback.format_exception(error))


def test_an_error_that_was_never_raised_has_one_line() -> None:
    assert traceback_of(Truncated("the page ends")) == "tasks.errors.Truncated: the page ends\n"


def test_one_function_at_two_lines_has_two_texts() -> None:
    def twice(first: bool) -> None:
        if first:
            raise Truncated("one")
        raise Truncated("other")

    for first in (True, False, True):
        error = caught(lambda: twice(first))  # noqa: B023 (called at once)
        assert traceback_of(error) == "".join(traceback.format_exception(error))
