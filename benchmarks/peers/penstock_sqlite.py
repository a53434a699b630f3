"""penstock on SQLite, its embedded default."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks import reference
from benchmarks.peers import Room
from benchmarks.peers.penstock import QUERIES, Penstock
from benchmarks.reference import Rows


class PenstockSqlite(Penstock):
    """The product with everything on, its pages in a file."""

    name = "penstock-sqlite"
    settings = "As penstock, with its pages in SQLite; the database's share of CPU is the workers' own."

    def store_url(self, room: Room) -> str:
        """See ``Penstock``."""
        return f"sqlite:///{self._file(room)}"

    def rows(self, room: Room) -> Rows:
        """See ``Peer``."""
        with closing(sqlite3.connect(self._file(room))) as connection:
            return reference.read_rows(connection.execute, **QUERIES)

    @staticmethod
    def _file(room: Room) -> Path:
        return room.home / "penstock.db"


PEER: Final = PenstockSqlite()
