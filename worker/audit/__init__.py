"""The ledger: every accepted payload has exactly one outcome, or is still in the stream.

``sums`` reads both sides and weighs them, which is cheap; ``search`` finds the serial numbers that are missing, which
reads all deliveries and so is done only where the sums differ; ``report`` says it, ``metrics`` and ``watch`` too.
"""

from __future__ import annotations

from worker.audit.report import Audit, acknowledge, audit
from worker.audit.sums import LedgerStore, LedgerStream, accepted_total, overlap

__all__ = ["Audit", "LedgerStore", "LedgerStream", "accepted_total", "acknowledge", "audit", "overlap"]
