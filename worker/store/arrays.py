"""PostgreSQL arrays in binary form, one column of a set of rows each.

psycopg writes a list element by element in Python and escapes texts with regular expressions, which was a third of a
commit's time. Format: ``array_recv`` and ``array_send`` in PostgreSQL's ``src/backend/utils/adt/arrayfuncs.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any, ClassVar, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from worker.store.driver import Kind, Row

_NULL: Final = struct.pack("!i", -1)
_length: Final = struct.Struct("!i").pack
_whole: Final = struct.Struct("!iq").pack


class TextArray(bytes):
    """An array of text."""

    oid: ClassVar[int] = 1009
    element_oid: ClassVar[int] = 25


class IntArray(bytes):
    """An array of bigint."""

    oid: ClassVar[int] = 1016
    element_oid: ClassVar[int] = 20


class BlobArray(bytes):
    """An array of bytea."""

    oid: ClassVar[int] = 1001
    element_oid: ClassVar[int] = 17


_Array = TextArray | IntArray | BlobArray


class _AsIs(Dumper):
    """Sends bytes that are in binary form already."""

    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        """Return the bytes."""
        return bytes(obj)


class _TextDumper(_AsIs):
    oid = TextArray.oid


class _IntDumper(_AsIs):
    oid = IntArray.oid


class _BlobDumper(_AsIs):
    oid = BlobArray.oid


def register(connection: psycopg.Connection[Row]) -> None:
    """Teach a connection to send these arrays."""
    connection.adapters.register_dumper(TextArray, _TextDumper)
    connection.adapters.register_dumper(IntArray, _IntDumper)
    connection.adapters.register_dumper(BlobArray, _BlobDumper)


def columns(rows: Sequence[Row], kinds: Sequence[Kind]) -> list[_Array]:
    """Return one array for each column of the rows."""
    return [_ENCODERS[kind](column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def _texts(column: Sequence[str | None]) -> TextArray:
    parts = [None if one is None else one.encode() for one in column]
    return TextArray(_head(TextArray, len(parts)) + _sized(parts))


def _blobs(column: Sequence[bytes | None]) -> BlobArray:
    return BlobArray(_head(BlobArray, len(column)) + _sized(column))


def _ints(column: Sequence[int | None]) -> IntArray:
    if None in column:
        body = b"".join([_NULL if one is None else _whole(8, one) for one in column])
    else:
        body = struct.pack("!" + "iq" * len(column), *chain.from_iterable(zip(repeat(8), column, strict=False)))
    return IntArray(_head(IntArray, len(column)) + body)


def _sized(parts: Sequence[bytes | None]) -> bytes:
    return b"".join([_NULL if one is None else _length(len(one)) + one for one in parts])


def _head(kind: type[_Array], length: int) -> bytes:
    """One dimension; there may be nulls; the element type; its length; it begins at 1."""
    return struct.pack("!iiIii", 1, 1, kind.element_oid, length, 1)


_ENCODERS: Final[dict[Kind, Callable[[Any], _Array]]] = {"text": _texts, "int": _ints, "blob": _blobs}
