"""The SQLite dialect: one file, one writer at a time."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from tasks.errors import PenstockError, Permanent, StoreConflict, StoreUnavailable, UsageError
from worker.store.driver import Insertion, Row, Statement

BUSY_SECONDS: Final = 10.0
_MIGRATION_SECONDS: Final = 3600  # so long another process may be at it
_OLDEST: Final = (3, 35, 0)  # RETURNING, UPDATE … FROM, upserts on partial indexes
_CONFLICTS: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",  # readers and the writer do not block each other
    "PRAGMA synchronous = FULL",  # what is committed, and so acknowledged, survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -65536",  # 64 MB: the indexes of hashes are written all over
    "PRAGMA temp_store = MEMORY",
)
# Connections of the parent that a forked child must neither use nor close: closing would drop the parent's locks.
_inherited: Final[list[sqlite3.Connection]] = []


class SqliteTransaction:
    """An open transaction; a set-wise statement runs row by row, which costs no round trip here."""

    locks_rows: Final = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def session(self) -> object:
        """See ``Transaction``."""
        return self._connection

    def run(self, sql: str, *parameters: Any) -> list[Row]:
        """See ``Transaction``."""
        return self._connection.execute(_plain(sql), parameters).fetchall()

    def read(self, what: Statement, rows: Sequence[Row]) -> list[Row]:
        """See ``Transaction``."""
        sql, execute = compiled(what), self._connection.execute
        return [found for row in rows for found in execute(sql, row).fetchall()]

    def write(self, what: Statement, rows: Sequence[Row]) -> int:
        """See ``Transaction``."""
        return self._connection.executemany(compiled(what), rows).rowcount if rows else 0

    def insert(self, what: Insertion, rows: Iterable[Row]) -> None:
        """See ``Transaction``."""
        self._connection.executemany(inserting(what), rows)

    def send(self, what: Statement, rows: Sequence[Row]) -> None:
        """See ``Transaction``: the database is this process."""
        self.write(what, rows)


class SqliteDriver:
    """A database file; see ``Driver``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._mutex = threading.RLock()

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[SqliteTransaction]:
        """See ``Driver``."""
        with self._mutex, self._errors():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield SqliteTransaction(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """See ``Driver``."""
        with self._errors(), closing(self._connect()) as connection:
            connection.execute(f"PRAGMA busy_timeout = {_MIGRATION_SECONDS * 1000}")
            yield connection

    def migration_lock(self) -> str:
        """See ``Driver``."""
        return "BEGIN IMMEDIATE"

    def alembic_url(self) -> str:
        """See ``Driver``."""
        return "sqlite://"

    def close(self) -> None:
        """See ``Driver``."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid != os.getpid():
            _inherited.append(self._connection)
            self._connection = None
        if self._connection is None:
            self._connection, self._pid = self._connect(), os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise UsageError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            mapped = self._mapped(error)
            if isinstance(mapped, StoreUnavailable):
                with suppress(sqlite3.Error):
                    self.close()
            if mapped is None:
                raise
            raise mapped from error

    def _mapped(self, error: sqlite3.Error) -> PenstockError | None:
        """Return our error for SQLite's; None for what is a fault of our SQL. Codes: https://sqlite.org/rescode.html."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        primary = code & 0xFF
        if primary in _CONFLICTS or isinstance(error, sqlite3.IntegrityError):
            return StoreConflict(f"{self._path.name}: {error}")
        if primary == sqlite3.SQLITE_NOTADB:
            return UsageError(f"{self._path} is not a penstock store: {error}")
        if primary == sqlite3.SQLITE_TOOBIG or isinstance(error, sqlite3.DataError):
            return Permanent(f"the store refuses the data: {error}")
        if primary in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}:
            return None
        return StoreUnavailable(f"{self._path}: {error}")


@cache
def compiled(what: Statement) -> str:
    """Return the statement for one row."""
    names = ", ".join(f"? AS {name}" for name, _ in what.columns)
    return _plain(what.sql.replace("{rows}", f"(SELECT {names}) AS r"))


@cache
def inserting(what: Insertion) -> str:
    """Return the statement for one row."""
    names = ", ".join(name for name, _ in what.columns)
    return f"INSERT INTO {what.table} ({names}) VALUES ({', '.join('?' for _ in what.columns)})"  # noqa: S608 (names)


@cache
def _plain(sql: str) -> str:
    chosen = re.sub(r"\{by (\w+)\}", r"INDEXED BY \1", re.sub(r"\{lock [\w ]+\}", "", sql))
    return chosen.replace("{collate}", "").replace("{lateral}", "")
