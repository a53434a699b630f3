"""Log lines: structlog for our own, the standard library's for Celery and the rest, one chain and one form for both."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, BinaryIO, Literal, TextIO, cast

import orjson
import structlog

from tasks.events import Event
from worker.telemetry.redaction import MAX_TRACEBACK, safe_field, safe_text

LogFormat = Literal["auto", "json", "console"]
EventDict = MutableMapping[str, Any]
Chain = Callable[[str, str, EventDict], bytes]

OWN = "penstock"  # our loggers: this and what is below it
_EVENTS = frozenset(event.value for event in Event)
# Celery tells of each task's start and end; with pull tasks that is every few seconds, and our own line says more.
_QUIETER = {"celery.app.trace": logging.WARNING, "celery.worker.strategy": logging.WARNING}
_FIRST = ("timestamp", "level", "logger", "event")


def configure_logging(
    *, level: str, fmt: LogFormat = "auto", stream: TextIO | None = None, strict: bool = False
) -> None:
    """Send every log line of this process to ``stream`` (standard error), from ``level`` (a name) on.

    ``auto`` is ``console`` on a terminal and ``json`` (one object a line) elsewhere; colours only on a terminal
    without ``NO_COLOR``. With ``strict``, an event of our own that is not in ``tasks.events`` raises; otherwise it is
    marked. May be called again; the last call counts. Raises ``ValueError`` for a level that does not exist.
    """
    number = _level_number(level)
    target = stream or _standard_error()
    terminal = target.isatty()
    console = fmt == "console" or (fmt == "auto" and terminal)
    chain = _chain(console=console, colors=terminal and not os.environ.get("NO_COLOR"), strict=strict)
    write = _writer(target)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _add_logger, chain],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name=OWN, *_: Sink(name, write),
        cache_logger_on_first_use=False,  # module loggers are made before this call, and must see it
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_Handler(chain, write))
    root.setLevel(number)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(max(number, least) if number > logging.DEBUG else logging.NOTSET)
    logging.captureWarnings(capture=True)


class Sink:
    """What structlog writes finished lines to; it carries the logger's name into the chain."""

    def __init__(self, name: str, write: Callable[[bytes], None]) -> None:
        self.name = name
        self._write = write

    def msg(self, line: bytes) -> None:
        """Write one line."""
        self._write(line)

    debug = info = warning = error = critical = msg


class _Handler(logging.Handler):
    """Puts records of the standard library through the same chain."""

    def __init__(self, chain: Chain, write: Callable[[bytes], None]) -> None:
        super().__init__()
        self._chain = chain
        self._write_line = write

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        try:
            event: EventDict = {"logger": record.name, "event": record.getMessage()}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            self._write_line(self._chain(record.name, level, {**structlog.contextvars.get_contextvars(), **event}))
        except Exception:  # noqa: BLE001 (the interface of logging.Handler: a line must not end a worker)
            self.handleError(record)


def _chain(*, console: bool, colors: bool, strict: bool) -> Chain:
    """Return the one way from an event to a line, for our loggers and the standard library's."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    render = _console(colors=colors) if console else _json

    def chain(logger: Any, level: str, event: EventDict) -> bytes:
        event["level"] = level
        event = structlog.processors.format_exc_info(logger, level, stamp(logger, level, event))
        return render(_redacted(_checked(event, strict=strict)), level)

    return chain


def _add_logger(logger: Any, _: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _checked(event: EventDict, *, strict: bool) -> EventDict:
    """Hold our own loggers to the catalogue."""
    name = str(event.get("logger", ""))
    if (name == OWN or name.startswith(f"{OWN}.")) and str(event["event"]) not in _EVENTS:
        if strict:
            raise ValueError(f"unknown log event {str(event['event'])!r}: add it to tasks.events")
        event["unknown_event"] = True
    return event


def _redacted(event: EventDict) -> EventDict:
    safe = {name: event[name] for name in _FIRST if name in event}
    safe["event"] = safe_text(str(event["event"]))
    for name, value in event.items():
        if name == "exception":
            safe[name] = safe_text(str(value), limit=MAX_TRACEBACK, lines=True)
        elif name not in _FIRST:
            safe[safe_text(name)] = safe_field(name, value)
    return safe


def _json(event: Mapping[str, Any], _: str) -> bytes:
    return orjson.dumps(event)


def _console(*, colors: bool) -> Callable[[EventDict, str], bytes]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )

    def render(event: EventDict, level: str) -> bytes:
        return renderer(None, level, event).encode(errors="backslashreplace")

    return render


def _writer(target: TextIO) -> Callable[[bytes], None]:
    """Return a function that writes one line at once, so that the lines of several processes do not mix."""
    raw = cast("BinaryIO | None", getattr(target, "buffer", None))

    def write(line: bytes) -> None:
        # A log that cannot be written (disk full, reader gone) must not stop the work that it tells of.
        with suppress(OSError, ValueError):
            if raw is None:
                target.write(f"{line.decode()}\n")
            else:
                raw.write(line + b"\n")
            target.flush()

    return write


def _standard_error() -> TextIO:
    """Return the real standard error: Celery puts a proxy in its place, which logs what is written to it."""
    return sys.stderr if hasattr(sys.stderr, "buffer") or sys.__stderr__ is None else sys.__stderr__


def _level_number(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level is named {level!r}")
    return number
