"""How commands print: JSON for programs, plain aligned text for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

Note = Annotated[str, typer.Option(help="Why; kept with the record of the action.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def say(text: str = "") -> None:
    """Print a line to standard output."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """Print a line to standard error."""
    sys.stderr.write(text + "\n")


def say_json(value: Any, *, indent: bool = True) -> None:
    """Print a value as JSON."""
    import orjson

    option = orjson.OPT_INDENT_2 if indent else 0
    sys.stdout.buffer.write(orjson.dumps(value, option=option | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def operator() -> str:
    """Return who runs this command, for the record."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}"


def clean(text: object) -> str:
    """Return text of a page fit for a terminal: control characters, which may hide or rewrite lines, shown as �."""
    return "".join(char if char.isprintable() else "�" if char not in "\n\t" else " " for char in str(text))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a head, columns aligned; numbers to the right."""
    text = [[clean("-" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in text), 0) for at, name in enumerate(head)]
    numeric = [all(map(_is_number, column)) for column in zip(*text, strict=True)] or [False] * len(head)
    for row in ([*head], *text):
        cells = [cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric, strict=True)]
        say("  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return cell.removesuffix("+").replace(",", "").replace(".", "").isdigit()


def counts(values: dict[str, int]) -> str:
    """Return counts as one line."""
    return ", ".join(f"{count:,} {name}" for name, count in values.items() if count) or "none"


def rfc3339(micros: int) -> str:
    """Return a time as RFC 3339 in UTC, as precise as it is."""
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()


def local_time(micros: int | None) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    from datetime import UTC, datetime

    return "-" if micros is None else datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
