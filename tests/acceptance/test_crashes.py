"""Processes are killed while they work; the store ends as if they had not been."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Penstock, nonzero, wait_for
from tests.support.corpus import Push, corpus, reference

PAGES = 5_000


@pytest.fixture
def pushes() -> list[Push]:
    return corpus(seed=5, pages=PAGES)


def _processes_below(pid: int) -> list[tuple[int, str]]:
    """Return the descendants of a process with their command lines, parents first."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except FileNotFoundError:
            continue
        found += [(int(child), command), *_processes_below(int(child))]
    return found


def _pool(supervisor: int) -> list[int]:
    """Return the pool processes of the worker that the command runs."""
    workers = [pid for pid, command in _processes_below(supervisor) if "worker.cli work" in command]
    return workers[1:]


def _in_stream(penstock: Penstock) -> int:
    return int(penstock.json("status")["stream"])


def _check(penstock: Penstock, pushes: list[Push]) -> None:
    truth = reference(pushes)
    status = penstock.json("status")
    assert nonzero(status["outcomes"]) == dict(truth.outcomes)
    stored = penstock.export()
    assert {item: (record["revision"], tuple(record["paragraphs"])) for item, record in stored.items()} == {
        f"bench/{item}": (len(texts), texts[-1]) for item, texts in truth.texts.items()
    }
    assert sum(status["items"].values()) == len(truth.named)
    assert status["stream"] == 0
    assert penstock.json("audit")["balanced"] is True


def _while_it_drains(penstock: Penstock, pushes: list[Push]) -> Any:
    penstock.environ["PENSTOCK_BATCH_SIZE"] = "5"  # slow enough to be looked at, and killed, on the way
    penstock.push_lines([push.envelope() for push in pushes])
    worker = penstock.start("work", "--drain", "--only", "ingest", "--concurrency", "2")
    wait_for("the first pages to be done", lambda: 0 < _in_stream(penstock) < PAGES - 200)
    return worker


def test_kill_9_of_a_pool_process_loses_and_doubles_nothing(either_store: Penstock, pushes: list[Push]) -> None:
    worker = _while_it_drains(either_store, pushes)
    victim = _pool(worker.pid)[0]
    os.kill(victim, signal.SIGKILL)
    assert worker.wait(120) == 0
    _check(either_store, pushes)


def test_kill_9_of_the_whole_worker_loses_and_doubles_nothing(either_store: Penstock, pushes: list[Push]) -> None:
    worker = _while_it_drains(either_store, pushes)
    below = [pid for pid, _ in _processes_below(worker.pid)]
    for pid in (worker.pid, *below):
        os.kill(pid, signal.SIGKILL)
    worker.wait(30)
    assert _in_stream(either_store) > 0
    either_store.run("work", "--drain", "--only", "ingest", "--concurrency", "2")
    _check(either_store, pushes)


def test_a_worker_whose_command_is_killed_ends_with_it(penstock: Penstock, pushes: list[Push]) -> None:
    worker = _while_it_drains(penstock, pushes)
    below = [pid for pid, _ in _processes_below(worker.pid)]
    assert len(below) >= 3
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(30)
    wait_for("the worker's processes to end", lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in below))
