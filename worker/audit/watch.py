"""The audit as the tasks make it, once a minute: the sums only."""

from __future__ import annotations

from tasks.ports import Weighed
from worker.audit.report import audit
from worker.audit.sums import LedgerStore, LedgerStream

ROUNDS = 5


class LedgerScales:
    """A ``tasks.ports.Scales``."""

    def __init__(self, stream: LedgerStream, store: LedgerStore) -> None:
        self._stream, self._store = stream, store

    def weigh(self) -> Weighed:
        """See ``Scales``."""
        result = audit(self._stream, self._store, rounds=ROUNDS, search=False)
        return Weighed(result.difference, result.quiet, tuple(result.explained))
