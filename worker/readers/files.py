"""Which files there are, what their names say of them, and a file that is one page."""

from __future__ import annotations

import enum
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.errors import UsageError
from tasks.steps.page import Payload

_LINES = frozenset({".ndjson", ".jsonl"})
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_FIRST = 64 * 1024  # bytes; asking for the largest page at once would allocate as much for the smallest one
_TYPES = {".html": "text/html", ".htm": "text/html", ".json": "application/json"}


class Kind(enum.StrEnum):
    """How a file holds its pages."""

    PAGE = "page"
    NDJSON = "ndjson"
    WARC = "warc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says of the pages."""

    source: str | None
    url: str | None
    item: str | None
    content_type: str | None
    max_body: int  # bytes

    def typed(self, content_type: str | None) -> Given:
        """Return a copy with the content type."""
        return replace(self, content_type=content_type)

    def check(self, kind: Kind, name: str) -> None:
        """Raise ``UsageError`` where nothing in a file of that kind could be pushed."""
        if kind is Kind.PAGE:
            self.check_source(name)
        if kind is not Kind.PAGE and (self.url is not None or self.item is not None):
            raise UsageError(f"{name}: --url and --item name one page, and this file may hold many", file=name)

    def check_source(self, name: str) -> None:
        """Raise ``UsageError`` where a page that does not name its source would have none."""
        if self.source is None:
            raise UsageError(f"{name}: a page does not name its source; give --source", file=name)


def kind_of(path: Path) -> Kind:
    """Tell by its name how a file holds its pages."""
    suffix = _bare(path).suffix.lower()
    if suffix in _LINES:
        return Kind.NDJSON
    return Kind.WARC if suffix == ".warc" else Kind.PAGE


def packing_of(path: Path) -> str | None:
    """Tell by its name how a file is packed: ``gzip``, ``zstd``, or None."""
    return _PACKED.get(path.suffix.lower())


def content_type_of(path: Path) -> str | None:
    """Tell by its name what a page is; None leaves it to the parsers."""
    return _TYPES.get(_bare(path).suffix.lower())


def walk(root: Path) -> Iterator[Path | UsageError]:
    """Yield the regular files below a directory, in the order of their names; hidden ones are left out.

    Links to directories are not followed, links to files only where they stay below ``root``.
    """
    errors: list[OSError] = []
    home = root.resolve()
    for folder, folders, files in os.walk(root, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and _stays(path, home):
                yield path
    for error in errors:
        yield UsageError(f"{error.filename}: {os.strerror(error.errno or 0)}", file=str(error.filename))


def read_page(stream: io.BufferedReader, name: str, given: Given) -> Iterator[Payload | UsageError]:
    """Yield the whole stream as one page. Never reads more than ``max_body + 1`` bytes."""
    first = min(_FIRST, given.max_body + 1)
    body = stream.read(first)
    if len(body) == first:
        body += stream.read(given.max_body + 1 - first)
    if len(body) > given.max_body:
        message = f"{name}: larger than the limit of {given.max_body:,} bytes for one page"
        yield UsageError(message, file=name)
        return
    yield Payload(source=given.source or "", body=body, item=given.item, url=given.url, content_type=given.content_type)


def _bare(path: Path) -> Path:
    """Return the path without the suffix that tells the packing."""
    return path.with_suffix("") if path.suffix.lower() in _PACKED else path


def _stays(path: Path, home: Path) -> bool:
    return not path.is_symlink() or path.resolve().is_relative_to(home)
