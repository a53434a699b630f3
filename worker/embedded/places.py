"""Directories that are ours alone, and where a socket can stand."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from pathlib import Path

from tasks.errors import UsageError

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_SOCKET_PATH_BYTES = 100
_LOG_BYTES = 10 * 1024 * 1024


def our_directory(path: Path, mode: int = 0o700) -> Path:
    """Make ``path``, with parents, or take it when it is ours; its mode becomes ``mode``. Raises ``UsageError``."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        path.chmod(mode)
    except OSError as error:
        raise UsageError(f"The directory {path} cannot be used: {error.strerror}.") from error
    return path


def private_directory(path: Path, *, owner: int, mode: int = 0o700) -> Path:
    """Make one directory in a place where others can write too; refuse one that somebody else put there.

    Raises ``UsageError``.
    """
    try:
        path.mkdir(mode=0o700)
        if owner != os.geteuid():
            os.chown(path, owner, group_of(owner))
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"The directory {path} cannot be made: {error.strerror}.") from error
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
        raise UsageError(f"{path} is not a directory of user id {owner}; somebody else made it. Remove it.")
    path.chmod(mode)
    return path


def group_of(user: int) -> int:
    """Return the primary group of a user id; the same number where the system does not know the user."""
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return user


def short_name(path: Path) -> str:
    """Return a name for what belongs to ``path``: the same for every process of this user, and nobody's else."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    return f"penstock-{os.geteuid()}-{digest[:16]}"


def socket_directory(wanted: Path, file_name: str) -> Path:
    """Return ``wanted``, or a short path under the temp directory where clients could not name a socket in ``wanted``.

    That is: a path that is too long for the kernel, or with a comma, at which libpq splits its list of hosts.
    Only the name is chosen here, the directory is made by the keeper. ``$TMPDIR`` is not looked at: every process
    must come to the same answer.
    """
    if len(os.fsencode(wanted / file_name)) <= _SOCKET_PATH_BYTES and "," not in str(wanted):
        return wanted
    return shared_temp("/tmp", "/var/tmp") / short_name(wanted)  # noqa: S108 (private_directory checks the owner)


def shared_temp(*candidates: str) -> Path:
    """Return the first of the system's temp directories that can be written to. Raises ``UsageError``."""
    for name in candidates:
        if os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    raise UsageError(f"None of {', '.join(candidates)} can be written to; use a shorter PENSTOCK_HOME.")


def roll(log: Path) -> Path:
    """Put a log that grew large aside, over the one before, and return its path."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    return log


def last_line(log: Path) -> str:
    """Return the last line that a server wrote, for an error message; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
