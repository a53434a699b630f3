"""The workers' side of ``celery_textbook``."""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks import work
from benchmarks.peers.celery_textbook import PEER, TASK
from tasks.steps.payload import from_envelope

app = PEER.app(os.environ[work.REDIS_URL])


@app.task(name=TASK)
def handle(envelope: Mapping[str, object]) -> str:
    """Handle a page."""
    return work.work_on([from_envelope(envelope)])[0]
