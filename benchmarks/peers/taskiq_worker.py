"""The workers' side of ``taskiq``."""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks import work
from benchmarks.peers.taskiq import PEER, TASK
from tasks.steps.payload import from_envelope

broker = PEER.broker(os.environ[work.REDIS_URL])


@broker.task(task_name=TASK)
def handle(envelope: Mapping[str, object]) -> None:
    """Handle a page."""
    work.work_on([from_envelope(envelope)])
