"""Rows in PostgreSQL's binary forms: an array for each column of a statement, or the data of a COPY.

psycopg writes a list element by element in Python and escapes texts with regular expressions, which was a third of a
commit's time. Formats: ``array_recv`` in PostgreSQL's ``src/backend/utils/adt/arrayfuncs.c``, and
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A value has the same form in both: its length,
then itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any, Final

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


@dataclass(frozen=True, slots=True)
class Array:
    """An array in binary form."""

    data: bytes = field(repr=False)


class TextArray(Array):
    """An array of text."""


class IntArray(Array):
    """An array of bigint."""


class BlobArray(Array):
    """An array of bytea."""


class _ArrayDumper(Dumper):
    """Sends an array as it is."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        """Return the bytes."""
        return obj.data


class _TextDumper(_ArrayDumper):
    oid = 1009


class _IntDumper(_ArrayDumper):
    oid = 1016


class _BlobDumper(_ArrayDumper):
    oid = 1001


def register(connection: psycopg.Connection[Row]) -> None:
    """Teach a connection to send these arrays."""
    connection.adapters.register_dumper(TextArray, _TextDumper)
    connection.adapters.register_dumper(IntArray, _IntDumper)
    connection.adapters.register_dumper(BlobArray, _BlobDumper)


def columns(rows: Sequence[Row], kinds: Sequence[Kind]) -> list[Array]:
    """Return one array for each column of the rows."""
    return [_array(kind, column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def copied(rows: Iterable[Row], kinds: Sequence[Kind]) -> Iterator[bytes]:
    """Yield the data of a COPY, some rows at a time: so the processor's cache holds them from their making on."""
    width, head = repeat(struct.pack("!h", len(kinds))), _COPY_HEAD
    rows = iter(rows)
    while some := list(islice(rows, _COPY_ROWS)):
        values = [_values(kind, column) for kind, column in zip(kinds, zip(*some, strict=True), strict=True)]
        yield b"".join((head, *chain.from_iterable(zip(width, *values, strict=False))))
        head = b""
    yield head + _COPY_TAIL


def _array(kind: Kind, column: Sequence[Any]) -> Array:
    """One dimension; there may be nulls; the element type; its length; it begins at 1."""
    array, oid = _ARRAYS[kind]
    return array(b"".join((struct.pack("!iiIii", 1, 1, oid, len(column), 1), *_values(kind, column))))


def _values(kind: Kind, column: Sequence[Any]) -> Iterable[bytes]:
    """Return each value with its length."""
    if column[0] == column[-1] and column.count(column[0]) == len(column):
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


_ARRAYS: Final[dict[Kind, tuple[type[Array], int]]] = {  # with the types of their elements
    "text": (TextArray, 25),
    "int": (IntArray, 20),
    "blob": (BlobArray, 17),
}
_VALUES: Final[dict[Kind, Callable[[Any], list[bytes]]]] = {"text": _texts, "int": _ints, "blob": _blobs}
