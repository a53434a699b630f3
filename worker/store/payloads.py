"""Rows of ``payload``: the bytes of every arrival, by hash, compressed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tasks.errors import UsageError
from tasks.steps.page import Payload
from worker.store.batch import Packed
from worker.store.driver import Transaction, statement
from worker.store.zstd import Packer, unpack

LEVEL: Final = 3  # 35 µs for a page of 4.5 KB, to 40 % of its size
_packer: Final = Packer(LEVEL)
_INSERT: Final = statement(
    """INSERT INTO payload (payload_hash, bytes, size, first_seen)
    SELECT payload_hash, bytes, size, first_seen FROM {rows} WHERE true ON CONFLICT DO NOTHING""",
    payload_hash="text",
    bytes="blob",
    size="int",
    first_seen="int",
)

_HOLD: Final = statement(
    "SELECT payload.payload_hash FROM {rows} JOIN payload ON payload.payload_hash = r.payload_hash {lock payload}",
    payload_hash="text",
)


def pack(payloads: Iterable[tuple[str, Payload]]) -> list[Packed]:
    """Compress payloads, given with their hashes, each once, in the order of their hashes.

    What came compressed is kept as it came.
    """
    each = dict(payloads)
    return [Packed(one, _frame(each[one]), len(each[one].body)) for one in sorted(each)]


def _frame(payload: Payload) -> bytes:
    return _packer.pack(payload.body) if payload.frame is None else payload.frame


def keep(tx: Transaction, packed: Iterable[Packed], now: int) -> None:
    """Store payloads that are not stored yet."""
    tx.send(_INSERT, [(one.payload_hash, one.data, one.size, now) for one in packed])


def hold(tx: Transaction, hashes: Iterable[str], packed: Iterable[Packed], now: int) -> None:
    """Keep these payloads from being deleted as old before this transaction ends: a failure is about to need them.

    ``keep`` leaves a row alone that is there already, and does not lock it.
    """
    if not tx.locks_rows:
        return
    wanted = set(hashes)
    held = {row[0] for row in tx.read(_HOLD, [(one,) for one in sorted(wanted)])}
    keep(tx, [one for one in packed if one.payload_hash in wanted - held], now)


def read(tx: Transaction, payload_hash: str) -> bytes:
    """Return the bytes as they arrived. Raises ``UsageError`` when they are not kept any more."""
    rows = tx.run("SELECT bytes FROM payload WHERE payload_hash = ?", payload_hash)
    if not rows:
        raise UsageError(f"the bytes of payload {payload_hash} are not kept any more")
    return unpack(rows[0][0])
