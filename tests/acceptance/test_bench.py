"""``penstock bench``, for real and small. How fast anything is does not matter here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import Penstock

CHECKOUT = Path(__file__).resolve().parents[2]
FIGURES = {
    "pages_per_s",
    "pages_per_s_min",
    "pages_per_s_max",
    "cpu_ms_per_page",
    "cpu_ms_per_page_min",
    "cpu_ms_per_page_max",
    "cpu_ms_workers",
    "ratio_to_textbook",
    "ratio_to_plain_loop",
    "peak_mb",
    "redis_bytes_per_page",
    "pushed_per_s",
}


def test_bench_measures_peers_and_checks_their_rows(penstock: Penstock, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    names = ["penstock", "celery-textbook", "plain-loop"]
    made = penstock.json("bench", "--pages", "400", "--rounds", "1", "--only", ",".join(names), "--report", str(report))
    assert [one["name"] for one in made] == names
    for one in made:
        assert one["rows_ok"] is True
        assert one["wrong"] == []
        assert one["pages"] == 400
        assert one["rounds"] == 1
        assert {name for name in FIGURES if one[name] > 0} == FIGURES
        parts = sum(one[f"cpu_ms_{part}"] for part in ("workers", "redis", "database"))
        assert one["cpu_ms_per_page"] == pytest.approx(parts, abs=0.001)
    by_name = {one["name"]: one for one in made}
    assert by_name["celery-textbook"]["ratio_to_textbook"] == 1
    assert by_name["plain-loop"]["ratio_to_plain_loop"] == 1
    text = report.read_text()
    for name in names:
        assert f"| {name} |" in text
    assert not penstock.home.exists()  # it has servers and folders of its own


def test_sqlite_is_measured_too(penstock: Penstock) -> None:
    (one,) = penstock.json("bench", "--pages", "200", "--rounds", "2", "--only", "penstock-sqlite")
    assert one["rows_ok"] is True
    assert one["rounds"] == 2
    assert one["ratio_to_textbook"] is None


@pytest.mark.parametrize("names", ["celary", ",", "penstock,no-such-peer"])
def test_an_unknown_peer_is_a_wrong_usage(penstock: Penstock, names: str) -> None:
    done = penstock.attempt("bench", "--only", names)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("bytewax") is not None, reason="bytewax is installed")
def test_a_named_peer_that_is_not_installed_is_told_with_the_way_to_get_it(penstock: Penstock) -> None:
    done = penstock.attempt("bench", "--only", "penstock,bytewax")
    assert done.returncode == 2
    assert b"make bench" in done.stderr


def test_without_a_checkout_it_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("worker", "tasks"):  # as a wheel installs them
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "bench"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert b"checkout" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_interrupted_bench_leaves_no_process_and_no_folder(penstock: Penstock) -> None:
    folder = penstock.home.parent
    penstock.environ["TMPDIR"] = str(folder)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it; so would its child
    try:
        running = penstock.start("bench", "--pages", "10000", "--rounds", "9", "--only", "celery-textbook")
    finally:
        signal.signal(signal.SIGINT, before)
    ends = time.monotonic() + 120
    while not list(folder.glob("penstock-bench-*/0-celery-textbook/workers.log")):
        assert running.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.05)
    ours = _processes_in(folder)
    assert ours
    running.send_signal(signal.SIGINT)
    assert running.wait(90) == 130
    assert _processes_in(folder) == set()
    assert list(folder.glob("penstock-bench-*")) == []


def _processes_in(folder: Path) -> set[int]:
    """Return the processes whose command or environment names the folder."""
    found = set()
    for one in Path("/proc").iterdir():
        if not one.name.isdigit() or int(one.name) == os.getpid():
            continue
        try:
            told = (one / "cmdline").read_bytes() + (one / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            found.add(int(one.name))
    return found
