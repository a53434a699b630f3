"""One process of the plain loop: what must be done to a page, and nothing that looks after it."""

from __future__ import annotations

import os
import time
from typing import Final

from benchmarks import work
from benchmarks.peers.penstock import NAMESPACE
from tasks.ports import Entry
from tasks.steps.page import Arrival
from tasks.steps.payload import MAX_BODY, decode_fields
from worker.garbage import collect_seldom
from worker.store import open_store
from worker.stream import PageStream, connect

BATCH: Final = 300
BLOCK_MS: Final = 500


def main() -> None:
    """Handle batches until the process is stopped."""
    store = open_store(os.environ[work.STORE_URL], near=False)
    client = connect(os.environ[work.REDIS_URL])
    stream = PageStream(client, namespace=NAMESPACE, high_water=0, lease_ms=600_000, max_body=MAX_BODY)
    stream.epoch()
    worker = f"plain-{os.getpid()}"
    collect_seldom()
    while True:
        entries = stream.read(BATCH, BLOCK_MS)
        if entries:
            store.commit([arrival_of(entry) for entry in entries], worker=worker, now=time.time_ns() // 1000)
            stream.ack([entry.id for entry in entries])


def arrival_of(entry: Entry) -> Arrival:
    """Parse an entry. All of them can be decoded."""
    one = work.understood(decode_fields(entry.fields, max_body=MAX_BODY))
    return Arrival(
        epoch=entry.epoch,
        entry_id=entry.id,
        attempt=entry.deliveries,
        observed_at=one.observed_at,
        payload=one.payload,
        payload_hash=one.payload_hash,
        result=one.result,
        serial=entry.serial,
    )


if __name__ == "__main__":
    main()
