"""The pool of a worker's processes."""

from __future__ import annotations

from typing import Any, cast

from billiard.pool import CLOSE, RUN
from celery import platforms
from celery.concurrency.prefork import TaskPool


class Pool(TaskPool):
    """Celery's prefork pool, but one that has nothing in hand ends at once.

    Celery starts a thread that sends acknowledgements while tasks end, and then waits until it wakes up.
    """

    _pool: Any

    def on_start(self) -> None:
        """Fork the processes.

        Celery has each of them ask the kernel to end with its parent, and for that one call it loads a parser of C.
        ``worker.app`` asks for the same.
        """
        cast("Any", platforms)._set_pdeathsig = lambda _signal: None  # noqa: SLF001 (the name it was imported under)
        super().on_start()

    def on_stop(self) -> None:
        """Let the processes end, and wait for them."""
        pool = self._pool
        if pool is not None and pool._state in {RUN, CLOSE} and not pool._cache:  # noqa: SLF001 (as Celery's own)
            pool.close()
            pool.join()
            self._pool = None
        super().on_stop()
