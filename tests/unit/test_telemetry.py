from __future__ import annotations

import io
import json
import logging
import os
import pty
import unicodedata
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Truncated
from tasks.events import Event
from worker.telemetry import configure_logging
from worker.telemetry.redaction import MAX_TEXT, is_secret, safe_text, safe_value


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Log:
    """A log that was configured, and what stands in it."""

    def __init__(self, *, level: str = "info", fmt: Any = "auto", strict: bool = True) -> None:
        self._bytes = io.BytesIO()
        stream = io.TextIOWrapper(self._bytes, encoding="ascii")  # the lines are UTF-8 whatever the stream would do
        configure_logging(level=level, fmt=fmt, stream=stream, strict=strict)
        self._stream = stream  # kept: it would close the bytes

    def text(self) -> str:
        return self._bytes.getvalue().decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


own = structlog.get_logger("penstock.test")  # made before any configuration, as the tasks' loggers are


def test_an_event_is_one_json_line_with_time_level_logger_and_fields() -> None:
    log = Log()
    before = datetime.now(UTC)
    own.info(Event.PAGES_INGESTED, new=3, title="Überflüssig ’")
    [line] = log.lines()
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "penstock.test",
        "event": "pages.ingested",
        "new": 3,
        "title": "Überflüssig ’",
    }


def test_bound_ids_stand_in_our_lines_and_in_those_of_libraries() -> None:
    log = Log()
    with structlog.contextvars.bound_contextvars(task="pages.ingest", entry="5-0"):
        own.warning(Event.TASK_GAVE_UP)
        logging.getLogger("kombu").warning("connection %s lost", 7)
    own.warning(Event.TASK_GAVE_UP)
    assert [(line["event"], line.get("task"), line.get("entry")) for line in log.lines()] == [
        ("task.gave_up", "pages.ingest", "5-0"),
        ("connection 7 lost", "pages.ingest", "5-0"),
        ("task.gave_up", None, None),
    ]


def test_lines_below_the_level_are_left_out_for_both_kinds_of_logger() -> None:
    log = Log(level="WARNING")
    own.info(Event.WORKER_READY)
    logging.getLogger("kombu").info("no")
    own.error(Event.FAILURE_KEPT)
    logging.getLogger("kombu").error("yes")
    assert [line["event"] for line in log.lines()] == ["failure.kept", "yes"]


def test_celery_does_not_tell_of_each_task_unless_asked_for_details() -> None:
    for level, expected in (("info", ["yes"]), ("debug", ["no", "yes"]), ("error", [])):
        log = Log(level=level)
        logging.getLogger("celery.app.trace").info("no")
        logging.getLogger("celery.app.trace").warning("yes")
        assert [line["event"] for line in log.lines()] == expected


def test_an_event_outside_the_catalogue_raises_in_tests_and_is_marked_in_production() -> None:
    Log()
    with pytest.raises(ValueError, match=r"unknown log event 'pages\.lost'"):
        own.info("pages.lost")
    log = Log(strict=False)
    own.info("pages.lost")
    own.info(Event.WORKER_READY)
    logging.getLogger("kombu").warning("anything")
    assert [line.get("unknown_event") for line in log.lines()] == [True, None, None]


def test_the_catalogue_says_each_event_once_and_dotted() -> None:
    assert len({event.value for event in Event}) == len(Event)
    assert all("." in event.value and event.value == event.value.lower() for event in Event)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="no log level is named 'loud'"):
        configure_logging(level="loud")


def _fail(page: str) -> None:
    raise Truncated("cut at byte 5", item="7") from ValueError(f"redis://user:{len(page)}@host/0")


def test_an_exception_is_one_field_without_the_values_of_variables() -> None:
    log = Log()
    page = "the text of the page"
    try:
        _fail(page)
    except Truncated:
        own.exception(Event.FAILURE_KEPT)
        logging.getLogger("celery").exception("broken")
    for line in log.lines():
        assert "Truncated: cut at byte 5" in line["exception"]
        assert "redis://***@host/0" in line["exception"]
        assert page not in line["exception"]


def test_fields_that_hold_pages_and_secrets_are_hidden() -> None:
    log = Log()
    own.info(
        Event.WORKER_READY,
        body="<p>text",
        body_b64="abc",
        redis_password="hunter2",
        sentry_dsn="https://key@host/1",
        leaseToken="t",
        api_key="k",
        payload=b"12345",
        body_bytes=5,
        settings={"store": {"password": "hunter2"}, "url": "postgresql://me:hunter2@db/penstock"},
        url="http://h/p?id=7&access_token=hunter2&page=2",
    )
    [line] = log.lines()
    for name in ("body", "body_b64", "redis_password", "sentry_dsn", "leaseToken", "api_key"):
        assert line[name] == "<hidden>"
    assert (line["payload"], line["body_bytes"]) == ("<5 bytes>", 5)
    assert line["settings"] == {"store": {"password": "<hidden>"}, "url": "postgresql://***@db/penstock"}
    assert line["url"] == "http://h/p?id=7&access_token=<hidden>&page=2"
    assert "hunter2" not in log.text()


def test_a_line_cannot_be_forged_or_drive_a_terminal() -> None:
    for fmt in ("json", "console"):
        log = Log(fmt=fmt)
        own.info(Event.ITEM_FETCHED, url="a\nlevel=critical\r\x1b[2J\u202e\u2028", message="\ud800")
        logging.getLogger("kombu").warning("one\ntwo\x1b[0m")
        assert len(log.text().splitlines()) == 2
        assert "\x1b" not in log.text()
        assert "\u202e" not in log.text()


def test_a_long_value_is_cut() -> None:
    log = Log()
    own.info(Event.ITEM_FETCHED, url="x" * 100_000, many=list(range(1000)))
    [line] = log.lines()
    assert len(line["url"]) == MAX_TEXT + 1
    assert len(line["many"]) == 51


def test_a_file_gets_json_and_a_terminal_gets_readable_lines() -> None:
    for no_color, colours in (("", True), ("1", False)):
        leader, follower = pty.openpty()
        with (
            pytest.MonkeyPatch.context() as patch,
            os.fdopen(leader, "rb", 0) as screen,
            os.fdopen(follower, "w") as term,
        ):
            patch.setenv("NO_COLOR", no_color)
            configure_logging(level="info", stream=term)
            own.info(Event.PAGES_INGESTED, new=3)
            shown = screen.read(4096).decode()
        assert "pages.ingested" in shown
        assert ("\x1b[" in shown) is colours
        assert not shown.startswith("{")
    log = Log(fmt="auto")
    own.info(Event.WORKER_READY)
    assert log.lines()[0]["event"] == "worker.ready"


def test_console_lines_have_no_colours_off_a_terminal() -> None:
    log = Log(fmt="console")
    own.warning(Event.TASK_GAVE_UP, error_class="StoreUnavailable")
    assert "\x1b" not in log.text()
    assert "task.gave_up" in log.text()
    assert "error_class=StoreUnavailable" in log.text()


def test_a_python_warning_becomes_a_line() -> None:
    log = Log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("soon gone", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    [line] = log.lines()
    assert line["logger"] == "py.warnings"
    assert "soon gone" in line["event"]


def test_a_log_that_cannot_be_written_does_not_end_the_work() -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w")) as full:  # unbuffered, so that nothing is left to fail later
        with pytest.raises(OSError, match="No space left"):
            full.buffer.write(b"x")
        configure_logging(level="info", stream=full)
        own.info(Event.WORKER_READY)


@pytest.mark.parametrize(
    "name, secret",
    [
        *(
            (name, True)
            for name in ("body", "BODY_B64", "sentry_dsn", "Set-Cookie", "authToken", "api-key", "db.password")
        ),
        *((name, False) for name in ("item_key", "fingerprint", "somebody", "tokenizer", "author", "url", "message")),
    ],
)
def test_a_name_tells_whether_a_field_is_hidden(name: str, *, secret: bool) -> None:
    assert is_secret(name) is secret


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.just(OSError),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
)


@given(_VALUES)
def test_any_value_becomes_plain_json_of_printable_text(value: object) -> None:
    shown = orjson.dumps(safe_value(value)).decode()
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in shown)


_AROUND = st.text(st.characters(exclude_characters="~"), max_size=200)


@given(_AROUND, st.text(st.characters(categories=["L", "N", "S"]), min_size=1, max_size=100), _AROUND)
def test_a_password_in_an_address_is_hidden_wherever_it_stands(before: str, password: str, after: str) -> None:
    shown = safe_text(f"{before} redis://me:~{password}@host/0 {after}")
    assert "~" not in shown
    assert "***@host" in shown


@given(st.text(max_size=500), st.integers(1, 100))
def test_a_text_is_never_longer_than_the_limit_but_for_escapes(text: str, limit: int) -> None:
    assert len(safe_text(text, limit=limit)) <= len(r"\U0010ffff") * limit + 1
    assert len(safe_text("a" * len(text), limit=limit)) <= limit + 1


def test_the_end_of_a_long_traceback_is_kept() -> None:
    shown = safe_text("first\n" + "x" * 100_000 + "\nlast", limit=100, lines=True)
    assert shown.startswith("…")
    assert shown.endswith("x\nlast")
