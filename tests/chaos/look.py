"""The store as the harness sees it: plain SQL, around the network and around penstock."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg

Row = tuple[Any, ...]
AWAY = (psycopg.Error, sqlite3.Error, OSError)
TICK_SECONDS = 0.2


class Look:
    """One connection to the store, opened again when it broke."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def rows(self, sql: str) -> list[Row]:
        """Run a query; raises one of ``AWAY`` when the store does not answer."""
        if self._connection is not None:
            with suppress(*AWAY):  # the server may have been away since
                return self._rows(sql)
        return self._rows(sql)

    def _rows(self, sql: str) -> list[Row]:
        try:
            self._connection = self._connection or connect(self._url)
            return [tuple(row) for row in self._connection.execute(sql).fetchall()]
        except AWAY:
            self.close()
            raise

    def number(self, sql: str) -> int:
        return int(self.rows(sql)[0][0] or 0)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(url: str) -> Any:
    """Open a connection of the harness, in autocommit."""
    if url.startswith("sqlite:///"):
        return sqlite3.connect(
            url.removeprefix("sqlite:///"), timeout=20, isolation_level=None, check_same_thread=False
        )
    return psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="chaos")


class Progress:
    """Notes each time at which the store holds more than before. Runs in a thread of its own."""

    def __init__(self, url: str, count: str) -> None:
        self._look, self._count = Look(url), count
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self.times: list[float] = []
        self.total = 0
        self._thread.start()

    def _watch(self) -> None:
        while not self._ends.wait(TICK_SECONDS):
            try:
                total = self._look.number(self._count)
            except AWAY:
                continue
            if total > self.total:
                self.total = total
                self.times.append(time.monotonic())

    def close(self) -> None:
        self._ends.set()
        self._thread.join(30)
        self._look.close()
