"""A worker that is asked to stop under load leaves nothing behind that another one would have to wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.corpus import corpus
from tests.support.crawl import Crawl, payloads, wait_for
from worker.supervisor import GRACE_SECONDS, worker_arguments

ROOT = Path(__file__).parents[2]
PAGES = 12_000  # more than two workers store while one of them stops


def _worker(system: Crawl, log: Path) -> subprocess.Popen[bytes]:
    """Start a worker of another machine. Its lease is two minutes; it reads far more than it stores at a time."""
    environ = {**os.environ, **system.environ(), "PENSTOCK_BATCH_BYTES": "40000", "PENSTOCK_BATCH_SECONDS": "0.05"}
    celery = [sys.executable, "-m", "celery", "-A", "tests.support.elsewhere_app", "worker"]
    command = [*celery, *worker_arguments(["ingest"], 1)]
    with log.open("ab") as told:
        return subprocess.Popen(command, env=environ, cwd=ROOT, stdout=told, stderr=told)


def test_a_worker_that_is_asked_to_stop_under_load_hands_over_at_once(either_crawl: Crawl, tmp_path: Path) -> None:
    system, pushes = either_crawl, corpus(seed=21, pages=PAGES)
    system.stream.push(payloads(pushes))
    workers = [_worker(system, tmp_path / "log") for _ in range(2)]
    stays, leaves = workers
    try:
        wait_for("both to be at work", lambda: len([name for name, held, _ in system.stream._consumers() if held]) == 2)
        began = time.monotonic()
        leaves.send_signal(signal.SIGTERM)
        assert leaves.wait(GRACE_SECONDS) == 0
        assert time.monotonic() - began < GRACE_SECONDS / 2
        assert not system.at_rest(), "the pages were too few"
        system.wait_until_at_rest(40)  # far below the lease
        assert stays.poll() is None
        system.check(pushes)
        with system.store._driver.transaction(write=False) as tx:
            assert tx.run("SELECT DISTINCT attempt FROM delivery") == [(1,)]
    finally:
        for one in workers:
            one.kill()
            one.wait()
