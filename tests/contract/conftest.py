from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tasks.errors import PenstockError
from tests.support.servers import Postgres
from worker.store import SqlStore, migrate, open_store

_numbers = itertools.count()
_DISCONNECT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_USED = """SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0"""
# The one table that has rows when it is made.
_KEEP_JOBS = "CREATE SCHEMA made; CREATE TABLE made.job AS TABLE job"
_RESET_JOBS = "INSERT INTO job TABLE made.job"


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A PostgreSQL server: the one that the environment names, else that of the test run. CI must have one."""
    given = os.environ.get("PENSTOCK_TEST_PG_URL")
    if given:
        return given
    try:
        server: Postgres = request.getfixturevalue("shared_postgres")
    except PenstockError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL here: {error}")
    return server.url


@contextmanager
def _database(postgres_url: str) -> Iterator[str]:
    """An empty database of its own on that server, as its URL."""
    name = f"contract_{os.getpid()}_{next(_numbers)}"
    head, _, query = postgres_url.partition("?")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield f"{head.rpartition('/')[0]}/{name}{'?' if query else ''}{query}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def fresh_postgres_url(postgres_url: str) -> Iterator[str]:
    """An empty database."""
    with _database(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store in each of the two dialects."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture(scope="session")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables."""
    path = tmp_path_factory.mktemp("made") / "store.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def made_database(postgres_url: str) -> Iterator[str]:
    """A database with the tables."""
    with _database(postgres_url) as url:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_KEEP_JOBS)
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def made_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that has its tables, as they are when they have just been made, in each of the two dialects."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("made_file"), tmp_path / "store.db")
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    url = request.getfixturevalue("made_database")
    yield url
    _empty(url)


def _empty(url: str) -> None:
    """Empty the tables of a database; a new one for each test would take ten times as long."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_DISCONNECT)
        used = ", ".join(name for (name,) in connection.execute(_USED))
        connection.execute(f"TRUNCATE {used} RESTART IDENTITY CASCADE".encode())
        connection.execute(_RESET_JOBS)


@pytest.fixture
def store(made_url: str) -> Iterator[SqlStore]:
    opened = open_store(made_url)
    yield opened
    opened.close()
