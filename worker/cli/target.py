"""Where a command writes a file to: whole, or not at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import PenstockError, UsageError

Write = Callable[[bytes], object]


@contextmanager
def writing(out: Path | None) -> Iterator[Write]:
    """Yield what writes to standard output, or to a file that has its name only when all of it is on the disk.

    A device or a pipe is written to as it is. Raises ``UsageError`` where the file cannot be made, and
    ``PenstockError`` where it cannot be written to its end; then what had the name before still has it.
    """
    if out is None:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    with _told(out):
        device = out.exists() and not stat.S_ISREG(out.stat().st_mode)
        path = out.resolve()  # of a link, the file that it leads to
        part = path if device else path.with_name(f".{path.name}.{os.getpid()}.part")
        file = part.open("wb" if device else "xb")
    try:
        yield _guarded(out, file.write)
        with _failing(out):
            file.flush()
            if not device:
                os.fsync(file.fileno())
                part.replace(path)
                _sync(path.parent)
    finally:
        with suppress(OSError):  # it was told already
            file.close()
        if not device:
            part.unlink(missing_ok=True)


def _guarded(out: Path, write: Write) -> Write:
    def guarded(data: bytes) -> None:
        with _failing(out):
            write(data)

    return guarded


@contextmanager
def _failing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{out}: cannot be written: {error.strerror}; nothing is there that was not before"
        raise PenstockError(message) from error


@contextmanager
def _told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{out}: cannot be written: {error.strerror}"
        raise UsageError(message) from error


def _sync(folder: Path) -> None:
    """Have the new name on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
