"""The short forms of ``make chaos``. Each run is a process of its own; those under load run on both stores at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("CHAOS_SEED", "122")
SECONDS = os.environ.get("CHAOS_SECONDS", "45")
STORES = ("sqlite", "postgresql")
PATIENCE_SECONDS = 240
KILLS = 10  # of a crawl


class Run:
    """A run of the harness on one store."""

    def __init__(self, store: str, folder: Path, *options: str) -> None:
        self.report, self._said = folder / f"{store}.md", folder / f"{store}.out"
        command = [sys.executable, "-m", "tests.chaos", "--store", store, "--seed", SEED, "--report", str(self.report)]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=said, stderr=said)

    def end(self) -> str:
        """Wait for it, and return what it said."""
        self.process.wait(PATIENCE_SECONDS)
        return self._said.read_text()

    def reported(self) -> dict[str, Any]:
        (report,) = json.loads(self.report.with_suffix(".json").read_text())
        return dict(report)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # it ends all that it started
            self.process.wait(30)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[dict[str, Run]]:
    started = {store: Run(store, tmp_path, "--seconds", SECONDS, "--longest", "6") for store in STORES}
    yield started
    for one in started.values():
        one.close()


def test_under_faults_nothing_is_lost_doubled_or_wrongly_given_up(runs: dict[str, Run]) -> None:
    said = {store: one.end() for store, one in runs.items()}
    for store, one in runs.items():
        assert one.process.returncode == 0, f"CHAOS_SEED={SEED}, {store}:\n{said[store]}"
        report = one.reported()
        assert report["kills_in_all"] >= int(float(SECONDS) / 4)
        assert report["producer"]["acknowledged_entries"] > 1000


@pytest.fixture
def crawl(tmp_path: Path) -> Iterator[Run]:
    short = ("--crawl", "--items", "500", "--hosts", "20", "--kills", str(KILLS), "--every", "1.2")
    started = Run("postgresql", tmp_path, *short)
    yield started
    started.close()


def test_in_a_crawl_whose_fetchers_are_killed_all_arrives_once_and_no_host_is_harmed(crawl: Run) -> None:
    said = crawl.end()
    assert crawl.process.returncode == 0, f"CHAOS_SEED={SEED}:\n{said}"
    assert crawl.reported()["kills_in_all"] == KILLS
