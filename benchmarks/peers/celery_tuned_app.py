"""The workers' side of ``celery_tuned``."""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks import work
from benchmarks.peers.celery_textbook import TASK
from benchmarks.peers.celery_tuned import PEER
from tasks.steps.payload import from_envelope

app = PEER.app(os.environ[work.REDIS_URL])


@app.task(name=TASK)
def handle(envelope: Mapping[str, object]) -> None:
    """Handle a page."""
    work.work_on([from_envelope(envelope)])
