"""The PostgreSQL dialect."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors, generators

from tasks.errors import PenstockError, Permanent, StoreConflict, StoreUnavailable, UsageError
from worker.store import arrays
from worker.store.driver import Insertion, Kind, Row, Statement

Result = TypeVar("Result")

_TYPES: Final[dict[Kind, str]] = {"text": "text", "int": "bigint", "blob": "bytea"}
_PREPARED: Final = 200  # statements of a connection; each of some 15 is made in the forms that batches bring
_MIGRATION_SECONDS: Final = 3600.0
_MIGRATION_LOCK: Final = 0x70656E73746F636B  # "penstock"
_CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "application_name": "penstock",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms; a network that went silent is noticed
}
# A proxy or a firewall may swallow what is sent and keep the connection, which TCP never notices. So long we wait for a
# sign of the server; it ends a statement by itself before that. Only the migrations may take longer.
_SILENCE_SECONDS: Final = 40.0
_SESSION: Final = """
SET statement_timeout = '35s';
SET lock_timeout = '30s';
SET idle_in_transaction_session_timeout = '30s';  -- a worker that hangs must not hold its rows for ever
SET plan_cache_mode = force_generic_plan;  -- planning anew for each batch costs more than it finds
SET enable_seqscan = off;  -- a plan that is made while the tables are empty reads them whole when they are large
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_bitmapscan = off;  -- it is chosen for a key that some rows have, and costs more than it finds
SET jit = off;
SET client_encoding = 'UTF8';
SET timezone = 'UTC'
"""
# What is asked for reading may well be a whole table.
_READ_ONLY: Final = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL enable_seqscan = on;
SET LOCAL enable_hashjoin = on;
SET LOCAL enable_mergejoin = on;
SET LOCAL enable_bitmapscan = on
"""
_CONFLICTS: Final = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.UniqueViolation,
)
_AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,  # a standby, after a fail-over
    errors.IdleInTransactionSessionTimeout,
)
_NEVER: Final = (errors.InvalidPassword, errors.InvalidAuthorizationSpecification, errors.InvalidCatalogName)
# When a connection is refused, psycopg has no code of the error, only the server's words.
_REFUSED: Final = re.compile(
    r"FATAL: +(password authentication failed|no pg_hba.conf entry|(role|database|user) .* does not exist)"
    r"|invalid (port|integer|URI|connection option)|no password supplied"
)
# Connections of the parent that a forked child must neither use nor close: closing would end the parent's session.
_inherited: Final[list[psycopg.Connection[Row]]] = []


class _Connection(psycopg.Connection[Row]):
    """A connection that gives up a server that has gone silent."""

    silence_seconds = _SILENCE_SECONDS

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **kwargs: Any) -> Result:
        """Wait for the server's answer, as psycopg does. Raises ``OperationalError`` when it is silent for too long."""
        return super().wait(self._heard(gen), *args, **kwargs)

    def _heard(self, gen: Generator[Any, Any, Result]) -> Generator[Any, Any, Result]:
        """Pass on between psycopg and its loop, which asks every 0.1 s while nothing comes."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > self.silence_seconds:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer for {self.silence_seconds:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: Result = done.value
            return result


class PostgresTransaction:
    """An open transaction; a set-wise statement is one round trip."""

    locks_rows: Final = True

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self._pipeline: AbstractContextManager[psycopg.Pipeline] | None = None  # while answers are outstanding

    @property
    def session(self) -> object:
        """See ``Transaction``."""
        return self._connection

    def run(self, sql: str, *parameters: Any) -> list[Row]:
        """See ``Transaction``."""
        self.settle()
        cursor = self._connection.execute(_plain(sql).encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def read(self, what: Statement, rows: Sequence[Row]) -> list[Row]:
        """See ``Transaction``."""
        self.settle()
        return self._run(what, rows).fetchall() if rows else []

    def write(self, what: Statement, rows: Sequence[Row]) -> int:
        """See ``Transaction``."""
        self.settle()
        return self._run(what, rows).rowcount if rows else 0

    def send(self, what: Statement, rows: Sequence[Row]) -> None:
        """See ``Transaction``: the server works on it while we make the rows of the next statement."""
        if not rows:
            return
        if self._pipeline is None:
            self._pipeline = self._connection.pipeline()
            self._pipeline.__enter__()
        self._run(what, rows)
        self._connection.wait(generators.send(self._connection.pgconn))  # else half of it may stay here

    def settle(self) -> None:
        """Wait for what was sent. Raises what went wrong with it."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.__exit__(None, None, None)

    def insert(self, what: Insertion, rows: Iterable[Row]) -> None:
        """See ``Transaction``."""
        self.settle()
        with self._connection.cursor() as cursor, cursor.copy(copying(what)) as copy:
            for data in arrays.copied(rows, [kind for _, kind in what.columns]):
                copy.write(data)

    def _run(self, what: Statement, rows: Sequence[Row]) -> psycopg.Cursor[Row]:
        forms, parameters = arrays.columns(rows, [kind for _, kind in what.columns])
        return self._connection.execute(compiled(what, forms), parameters)


class PostgresDriver:
    """A database server; see ``Driver``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: _Connection | None = None
        self._pid = 0
        self._mutex = threading.RLock()

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[PostgresTransaction]:
        """See ``Driver``."""
        with self._mutex, self._errors():
            connection = self._open()
            tx = PostgresTransaction(connection)
            try:
                if not write:
                    connection.execute(_READ_ONLY, prepare=False)
                yield tx
                tx.settle()
                connection.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    tx.settle()
                with suppress(psycopg.Error):
                    connection.rollback()
                raise

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Row]]:
        """See ``Driver``."""
        with self._errors(), closing(self._connect()) as connection:
            connection.silence_seconds = _MIGRATION_SECONDS
            for name in ("statement_timeout", "lock_timeout"):  # another process may be at it
                connection.execute(f"SET {name} = '{_MIGRATION_SECONDS - 10:.0f}s'".encode())
            connection.commit()
            yield connection

    def migration_lock(self) -> str:
        """See ``Driver``."""
        return f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"

    def alembic_url(self) -> str:
        """See ``Driver``."""
        return "postgresql+psycopg://"

    def close(self) -> None:
        """See ``Driver``."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> _Connection:
        if self._connection is not None and self._pid != os.getpid():
            _inherited.append(self._connection)
            self._connection = None
        if self._connection is None or self._connection.closed:
            self._connection, self._pid = self._connect(), os.getpid()
        return self._connection

    def _connect(self) -> _Connection:
        try:
            connection = _Connection.connect(self._url, prepare_threshold=0, **_CONNECT)
            connection.prepared_max = _PREPARED
        except psycopg.ProgrammingError as error:
            raise UsageError(f"the store's URL is wrong: {error}") from error
        arrays.register(connection)
        try:
            connection.execute(_SESSION, prepare=False)
            connection.commit()
        except psycopg.Error:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            mapped = _mapped(error)
            if isinstance(mapped, StoreUnavailable):
                with suppress(psycopg.Error):
                    self.close()
            if mapped is None:
                raise
            raise mapped from error


def _mapped(error: psycopg.Error) -> PenstockError | None:
    """Return our error for psycopg's; None for what is a fault of our SQL."""
    told = str(error).strip().splitlines()
    message = told[0] if told else type(error).__name__
    if isinstance(error, _CONFLICTS):
        return StoreConflict(f"PostgreSQL: {message}")
    if isinstance(error, _NEVER) or _REFUSED.search(str(error)):
        return UsageError(f"PostgreSQL refuses the connection: {message}")
    if isinstance(error, psycopg.DataError):
        return Permanent(f"the store refuses the data: {message}")
    if isinstance(error, _AWAY):
        return StoreUnavailable(f"PostgreSQL: {message}")
    return None


_FORMS: Final = {
    arrays.ONE: "%b::{type}",
    arrays.ARRAY: "unnest(%b::{type}[])",
    arrays.JOINED: f"unnest(string_to_array(%b::text, '{arrays.SEPARATOR}', '{arrays.NULL}'))",
}


@cache
def compiled(what: Statement, forms: str) -> bytes:
    """Return the statement with one parameter per column, in these forms."""
    values = ", ".join(
        f"{_FORMS[form].format(type=_TYPES[kind])} AS {name}"
        for form, (name, kind) in zip(forms, what.columns, strict=True)
    )
    return _plain(what.sql.replace("{rows}", f"(SELECT {values}) AS r")).encode()


@cache
def copying(what: Insertion) -> bytes:
    """Return the command that takes the rows."""
    return f"COPY {what.table} ({', '.join(name for name, _ in what.columns)}) FROM STDIN (FORMAT binary)".encode()


@cache
def _plain(sql: str) -> str:
    locked = re.sub(r"\{lock ([\w ]+)\}", r"FOR UPDATE OF \1", re.sub(r"\{by \w+\}", "", sql))
    return locked.replace("{collate}", 'COLLATE "C"').replace("{lateral}", "LATERAL").replace("?", "%s")
