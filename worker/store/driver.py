"""What the store needs of a database, and the one form of SQL that both dialects understand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["text", "int", "blob"]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """An SQL text that is run for a whole set of rows at a time.

    ``{rows}`` in it stands for the set, as a table ``r`` with the columns named here; ``{lock t}`` locks the rows of
    table ``t`` that are read, where the dialect locks rows; ``{collate}`` compares as Python does;
    ``{by i}`` names the index to use, where the dialect would choose another one without statistics.
    """

    sql: str
    columns: Sequence[tuple[str, Kind]]


def statement(sql: str, **columns: Kind) -> Statement:
    """Build a statement whose rows have these columns, in this order."""
    return Statement(sql, tuple(columns.items()))


@dataclass(frozen=True, slots=True, eq=False)
class Insertion:
    """Rows that are new, in these columns of a table."""

    table: str
    columns: Sequence[tuple[str, Kind]]


def insertion(table: str, **columns: Kind) -> Insertion:
    """Build an insertion whose rows have these columns, in this order."""
    return Insertion(table, tuple(columns.items()))


class Transaction(Protocol):
    """An open transaction. Plain SQL has ``?`` for each parameter."""

    @property
    def locks_rows(self) -> bool:
        """Whether other transactions may write at the same time."""

    @property
    def session(self) -> object:
        """What stands for the connection: another one for each."""

    def run(self, sql: str, *parameters: Any) -> list[Row]:
        """Run plain SQL and return its rows, if it has any."""

    def read(self, what: Statement, rows: Sequence[Row]) -> list[Row]:
        """Run a statement for all rows, in their order, and return what it returns."""

    def write(self, what: Statement, rows: Sequence[Row]) -> int:
        """Run a statement that returns nothing for all rows, in their order; return how many rows it touched."""

    def send(self, what: Statement, rows: Sequence[Row]) -> None:
        """Do as ``write``, but do not wait for it where the database is another process.

        What is wrong with it is raised by one of the calls that follow, or when the transaction ends.
        """

    def insert(self, what: Insertion, rows: Iterable[Row]) -> None:
        """Insert rows in their order, as they come. Raises ``StoreConflict`` where one is there already."""


class Driver(Protocol):
    """One database, one connection per process, opened with the first use and again after it is lost."""

    def transaction(self, *, write: bool = True) -> AbstractContextManager[Transaction]:
        """Begin a transaction; commit it at the end, undo it when an error passes.

        Raises ``StoreUnavailable``, ``StoreConflict`` (run it again), and ``Permanent`` for data that is refused.
        """

    def connection(self) -> AbstractContextManager[Any]:
        """Return a DB-API connection of its own, closed at the end of the block."""

    def migration_lock(self) -> str:
        """Return the SQL that lets one process at a time change the tables, until its transaction ends."""

    def alembic_url(self) -> str:
        """Return what SQLAlchemy calls this dialect and driver."""

    def close(self) -> None:
        """Close the connection; the next use opens another."""
