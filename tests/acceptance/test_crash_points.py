"""A pool process dies at each point between reading a page and having done with it; the store does not show it.

The points are wrapped around the ports (``tests/support/crashing``): the product knows nothing of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.corpus import corpus
from tests.support.crawl import Crawl, payloads, wait_for
from tests.support.processes import is_running
from worker.supervisor import worker_arguments

PAGES = 300
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", ["after_read", "after_parse", "before_commit", "after_commit", "after_ack"])
def test_a_pool_process_that_dies_at_a_point_loses_and_doubles_nothing(
    either_crawl: Crawl, tmp_path: Path, point: str
) -> None:
    pushes = corpus(seed=len(point), pages=PAGES)
    either_crawl.stream.push(payloads(pushes))
    marker, log = tmp_path / "marker", tmp_path / "log"
    environ = {**os.environ, **either_crawl.environ(), "CRASH_AT": point, "CRASH_MARKER": str(marker)}
    celery = [sys.executable, "-m", "celery", "-A", "tests.support.crashing_app", "worker"]
    command = [*celery, *worker_arguments(["ingest"], 2)]
    with (
        log.open("wb") as told,
        subprocess.Popen(
            command, env={**environ, "PENSTOCK_BATCH_SIZE": "20"}, cwd=ROOT, stdout=told, stderr=told
        ) as worker,
    ):
        try:
            wait_for("the death", lambda: marker.exists() and not is_running(int(marker.read_text() or 0)))
            either_crawl.wait_until_at_rest(20)
            assert worker.poll() is None
        finally:
            worker.send_signal(signal.SIGKILL)  # its pool goes with it
    truth = either_crawl.check(pushes)
    outcomes = {name: count for name, count in either_crawl.store.counts().outcomes.items() if count}
    assert outcomes == dict(truth.outcomes)
