"""All rows of a large table, a span of ids at a time, so that no query is long and no memory large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

SPAN: Final = 5000  # ids that one query looks at, whether many or none of them are wanted
CHUNK_ROWS: Final = 100
CHUNK_BYTES: Final = 16 << 20  # of unpacked payloads and what came around them

Key = TypeVar("Key")


def spans(last: int) -> Iterator[tuple[int, int]]:
    """Yield the spans up to the last id, as (after, up to and with)."""
    for after in range(0, last, SPAN):
        yield after, after + SPAN


def chunks(found: Sequence[tuple[Key, int]]) -> Iterator[list[Key]]:
    """Group keys, given with the size of their bytes, into chunks that may be in memory at once."""
    chunk: list[Key] = []
    size = 0
    for key, own in found:
        if chunk and (len(chunk) >= CHUNK_ROWS or size + own > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(key)
        size += own
    if chunk:
        yield chunk
