"""Rows as PostgreSQL takes them for the least: a parameter for each column of a statement, or the data of a COPY.

psycopg writes a list element by element in Python and escapes texts with regular expressions, which was a third of a
commit's time. Here a column of a statement has one of three forms: one value where all are equal; texts joined by a
separator, which costs a twentieth of an array here and no more there; else a binary array. Formats: ``array_recv`` in
PostgreSQL's ``src/backend/utils/adt/arrayfuncs.c``, and
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A value has the same form in both: its length,
then itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any, Final, cast

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from worker.store.driver import Kind, Row

_length: Final = struct.Struct("!i").pack
_NULL: Final = _length(-1)
_whole: Final = struct.Struct("!iq").pack
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_COPY_ROWS: Final = 64
_COPY_TAIL: Final = struct.pack("!h", -1)


ONE: Final = "o"
JOINED: Final = "j"
ARRAY: Final = "a"
SEPARATOR: Final = "\x1f"  # ASCII's unit separator, and
NULL: Final = "\x1e"  # its record separator; texts that hold one of them go as an array


@dataclass(frozen=True, slots=True)
class Encoded:
    """A parameter in binary form."""

    data: bytes = field(repr=False)


class _Text(Encoded): ...


class _Int(Encoded): ...


class _Blob(Encoded): ...


class _Texts(Encoded): ...


class _Ints(Encoded): ...


class _Blobs(Encoded): ...


# https://github.com/postgres/postgres/blob/REL_16_STABLE/src/include/catalog/pg_type.dat
_OIDS: Final[dict[type[Encoded], int]] = {_Text: 25, _Int: 20, _Blob: 17, _Texts: 1009, _Ints: 1016, _Blobs: 1001}


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Encoded) -> Buffer:
        """Return the bytes."""
        return obj.data


def register(connection: psycopg.Connection[Row]) -> None:
    """Teach a connection to send what is encoded here."""
    for kind, oid in _OIDS.items():
        connection.adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_AsItIs,), {"oid": oid}))


def columns(rows: Sequence[Row], kinds: Sequence[Kind]) -> tuple[str, list[Encoded | None]]:
    """Return the form of each column of the rows, a letter each, and the parameters. There must be a row."""
    forms, parameters = "", list[Encoded | None]()
    for kind, column in zip(kinds, zip(*rows, strict=True), strict=True):
        form, parameter = _column(kind, column)
        forms += form
        parameters.append(parameter)
    if len(rows) > 1 and forms == ONE * len(kinds):  # then the statement would see one row
        return ARRAY + forms[1:], [_array(kinds[0], [row[0] for row in rows]), *parameters[1:]]
    return forms, parameters


def _column(kind: Kind, column: Sequence[Any]) -> tuple[str, Encoded | None]:
    if _is_one(column):
        return ONE, None if column[0] is None else _ONES[kind](_VALUES[kind](column[:1])[0][4:])
    if kind == "text" and (joined := _joined(column)) is not None:
        return JOINED, joined
    return ARRAY, _array(kind, column)


def _is_one(column: Sequence[Any]) -> bool:
    first = column[0]
    return bool(first == column[-1]) and column.count(first) == len(column)


def _joined(column: Sequence[str | None]) -> Encoded | None:
    """Return the texts joined; None where that would not tell them apart."""
    nulls = column.count(None)
    joined = SEPARATOR.join(
        [NULL if one is None else one for one in column] if nulls else cast("Sequence[str]", column)
    )
    if joined.count(SEPARATOR) != len(column) - 1 or joined.count(NULL) != nulls:
        return None
    return _Text(joined.encode())


def copied(rows: Iterable[Row], kinds: Sequence[Kind]) -> Iterator[bytes]:
    """Yield the data of a COPY, some rows at a time: so the processor's cache holds them from their making on."""
    width, head = repeat(struct.pack("!h", len(kinds))), _COPY_HEAD
    rows = iter(rows)
    while some := list(islice(rows, _COPY_ROWS)):
        values = [_values(kind, column) for kind, column in zip(kinds, zip(*some, strict=True), strict=True)]
        yield b"".join((head, *chain.from_iterable(zip(width, *values, strict=False))))
        head = b""
    yield head + _COPY_TAIL


def _array(kind: Kind, column: Sequence[Any]) -> Encoded:
    """One dimension; there may be nulls; the element type; its length; it begins at 1."""
    array, oid = _ARRAYS[kind]
    return array(b"".join((struct.pack("!iiIii", 1, 1, oid, len(column), 1), *_values(kind, column))))


def _values(kind: Kind, column: Sequence[Any]) -> Iterable[bytes]:
    """Return each value with its length."""
    if _is_one(column):
        return repeat(_VALUES[kind](column[:1])[0], len(column))
    return _VALUES[kind](column)


def _texts(column: Sequence[str | None]) -> list[bytes]:
    return _blobs([None if one is None else one.encode() for one in column])


def _blobs(column: Sequence[bytes | None]) -> list[bytes]:
    return [_NULL if one is None else _length(len(one)) + one for one in column]


def _ints(column: Sequence[int | None]) -> list[bytes]:
    if None in column:
        return [_NULL if one is None else _whole(8, one) for one in column]
    return list(map(_whole, repeat(8), column))


_ARRAYS: Final[dict[Kind, tuple[type[Encoded], int]]] = {  # with the types of their elements
    "text": (_Texts, 25),
    "int": (_Ints, 20),
    "blob": (_Blobs, 17),
}
_ONES: Final[dict[Kind, type[Encoded]]] = {"text": _Text, "int": _Int, "blob": _Blob}
_VALUES: Final[dict[Kind, Callable[[Any], list[bytes]]]] = {"text": _texts, "int": _ints, "blob": _blobs}
