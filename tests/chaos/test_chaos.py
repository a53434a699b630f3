"""The short form of ``make chaos``: both stores at the same time, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("CHAOS_SEED", "122")
SECONDS = os.environ.get("CHAOS_SECONDS", "45")
STORES = ("sqlite", "postgresql")
PATIENCE_SECONDS = 240


class Run:
    """A run of the harness on one store."""

    def __init__(self, store: str, folder: Path) -> None:
        self.report, self._said = folder / f"{store}.md", folder / f"{store}.out"
        options = [
            "--store",
            store,
            "--seed",
            SEED,
            "--seconds",
            SECONDS,
            "--longest",
            "6",
            "--report",
            str(self.report),
        ]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos", *options], cwd=ROOT, stdout=said, stderr=said
            )

    def end(self) -> str:
        """Wait for it, and return what it said."""
        self.process.wait(PATIENCE_SECONDS)
        return self._said.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # it ends all that it started
            self.process.wait(30)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[dict[str, Run]]:
    started = {store: Run(store, tmp_path) for store in STORES}
    yield started
    for one in started.values():
        one.close()


def test_under_faults_nothing_is_lost_doubled_or_wrongly_given_up(runs: dict[str, Run]) -> None:
    said = {store: one.end() for store, one in runs.items()}
    for store, one in runs.items():
        assert one.process.returncode == 0, f"CHAOS_SEED={SEED}, {store}:\n{said[store]}"
        (report,) = json.loads(one.report.with_suffix(".json").read_text())
        assert report["kills_in_all"] >= int(float(SECONDS) / 4)
        assert report["producer"]["acknowledged_entries"] > 1000
