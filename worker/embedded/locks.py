"""File locks that the kernel frees when the last process that holds them is gone, however it went (flock(2)).

A lock belongs to the open file, so that it passes to children that inherit the descriptor. Python opens files
close-on-exec: forked workers keep a lock, programs that they run do not, unless it is passed to them on purpose.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_POLL_SECONDS = 0.03


def open_lock(path: Path) -> int:
    """Open the lock file and return its descriptor; it is made where it is missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def try_exclusive(fd: int) -> bool:
    """Take the lock alone, or return False at once."""
    return _try(fd, fcntl.LOCK_EX)


def wait_shared(fd: int, seconds: float) -> bool:
    """Take the lock beside others; False when somebody has held it alone for ``seconds``."""
    return _wait(fd, fcntl.LOCK_SH, seconds)


def wait_exclusive(fd: int, seconds: float) -> bool:
    """Take the lock alone; False when others have held it for ``seconds``."""
    return _wait(fd, fcntl.LOCK_EX, seconds)


def held_by_others(path: Path) -> bool:
    """Return whether somebody holds the lock shared."""
    fd = open_lock(path)
    try:
        return not _try(fd, fcntl.LOCK_EX) and _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def wait_free(path: Path, seconds: float) -> bool:
    """Wait until nobody holds the lock; False when somebody still does after ``seconds``."""
    if not path.exists():
        return True
    fd = open_lock(path)
    try:
        return wait_shared(fd, seconds)
    finally:
        os.close(fd)


def _wait(fd: int, kind: int, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not _try(fd, kind):
        if time.monotonic() > ends:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
