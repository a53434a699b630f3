"""What ``penstock push`` reads: files, directories, NDJSON envelopes, WARC archives, standard input.

Everything is read as a stream: memory is bounded by the size of one page, whatever the size of the file. What cannot
be read is an error that names the file and the place, and the rest is read on.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.errors import UsageError
from tasks.steps.page import Payload
from worker.readers.files import Given, Kind, content_type_of, kind_of, packing_of, read_page, walk
from worker.readers.lines import read_lines
from worker.readers.unpacked import Counted, Damaged, opened
from worker.readers.warc import read_warc

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Read:
    """One step of the reading: a payload, what is wrong with the input, or None for a record that is no page."""

    result: Payload | UsageError | None
    consumed: int  # bytes of input since the step before, as they lie on disk; for a progress bar


def read_paths(
    paths: Sequence[str],
    *,
    source: str | None,
    url: str | None = None,
    item: str | None = None,
    content_type: str | None = None,
    fmt: str | None = None,
    stdin: BinaryIO,
    max_body: int,
) -> Iterator[Read]:
    """Yield what stands in the paths, in order; directories are walked in the order of their names.

    ``fmt`` (``page``, ``ndjson`` or ``warc``) overrides what the file names say; ``-`` is ``stdin``, one page unless
    ``fmt`` says otherwise. ``max_body`` is in bytes. Blocks on the files. Raises ``UsageError`` only where going on
    makes no sense: an unknown ``fmt``, a page without a source, a name for many pages.
    """
    given = Given(source=source, url=url, item=item, content_type=content_type, max_body=max_body)
    kind = _forced(fmt)
    for path in paths:
        if path == STDIN:
            yield from _stdin(given, kind or Kind.PAGE, stdin)
        elif Path(path).is_dir():
            for found in walk(Path(path)):
                yield from [Read(found, 0)] if isinstance(found, UsageError) else _file(given, kind, found)
        else:
            yield from _file(given, kind, Path(path))


def total_bytes(paths: Sequence[str]) -> int | None:
    """Return how many bytes ``read_paths`` will read; None where that is not known before."""
    total = 0
    for path in paths:
        if path == STDIN:
            return None
        for file in walk(Path(path)) if Path(path).is_dir() else [Path(path)]:
            if isinstance(file, UsageError):
                continue
            try:
                status = file.stat()
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode):
                return None
            total += status.st_size
    return total


def _forced(fmt: str | None) -> Kind | None:
    try:
        return Kind(fmt) if fmt else None
    except ValueError as error:
        raise UsageError(f"the format is page, ndjson or warc, not {fmt!r}") from error


def _stdin(given: Given, kind: Kind, stdin: BinaryIO) -> Iterator[Read]:
    raw = Counted(stdin)
    yield from _counted(_results(given, kind, io.BufferedReader(raw), "standard input"), raw, "standard input")


def _file(given: Given, forced: Kind | None, path: Path) -> Iterator[Read]:
    kind = forced or kind_of(path)
    if kind is Kind.PAGE and given.content_type is None:
        given = given.typed(content_type_of(path))
    try:
        with path.open("rb", buffering=0) as file:
            raw = Counted(file)
            yield from _counted(_results(given, kind, opened(raw, packing_of(path)), str(path)), raw, str(path))
    except OSError as error:
        yield Read(UsageError(f"{path}: {os.strerror(error.errno or 0)}", file=str(path)), 0)


def _results(given: Given, kind: Kind, stream: io.BufferedReader, name: str) -> Iterator[Payload | UsageError | None]:
    given.check(kind, name)
    match kind:
        case Kind.PAGE:
            return read_page(stream, name, given)
        case Kind.NDJSON:
            return read_lines(stream, name, given)
        case Kind.WARC:
            return read_warc(stream, name, given)


def _counted(results: Iterator[Payload | UsageError | None], raw: Counted, name: str) -> Iterator[Read]:
    before = 0
    try:
        for result in results:
            yield Read(result, raw.count - before)
            before = raw.count
    except Damaged as error:
        yield Read(UsageError(f"{name}: {error}", file=name), raw.count - before)
