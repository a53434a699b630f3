"""Work run as transactions, whole again when another worker came in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tasks.errors import StoreConflict
from worker.store import schema
from worker.store.driver import Driver, Transaction

Result = TypeVar("Result")

ATTEMPTS: Final = 8
_PAUSE_SECONDS: Final = 0.01  # doubled with each attempt, times a random number up to 1


class Transactions:
    """A database that work is run in; the tables are brought up to date with the first connection."""

    def __init__(self, driver: Driver, *, attempts: int = ATTEMPTS) -> None:
        self._driver = driver
        self._attempts = attempts
        self._ready = False

    def prepare(self) -> bool:
        """Connect and bring the tables up to date; return whether they were not.

        Raises ``UsageError`` for the tables of a newer penstock.
        """
        changed = self._again(lambda: schema.bring_up_to_date(self._driver))
        self._ready = True
        return changed

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        self._driver.close()

    def _read(self, work: Callable[[Transaction], Result]) -> Result:
        return self._run(work, write=False)

    def _write(self, work: Callable[[Transaction], Result]) -> Result:
        return self._run(work, write=True)

    def _run(self, work: Callable[[Transaction], Result], *, write: bool) -> Result:
        if not self._ready:
            self.prepare()

        def once() -> Result:
            with self._driver.transaction(write=write) as tx:
                return work(tx)

        return self._again(once)

    def _again(self, work: Callable[[], Result]) -> Result:
        """Do work; whole again when another worker came in between."""
        for attempt in range(1, self._attempts):
            try:
                return work()
            except StoreConflict:
                time.sleep(_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 (jitter)
        return work()
