"""The benchmarks' figures: medians and ratios of runs, the choice of peers, and the report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.measure import Run
from benchmarks.peers import MODULES, Peer, Room, peer
from benchmarks.processes import Seen, cpu_seconds, every_process, memory_bytes, tree
from benchmarks.rounds import Bench, chosen, results
from tasks.errors import UsageError
from tasks.steps.page import Payload


class Idle(Peer):
    """A peer of no use."""

    name = "idle"
    settings = "Does nothing."
    packages = ("json", "no_such_package_anywhere")

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        raise NotImplementedError

    def commands(self, room: Room) -> list[list[str]]:
        raise NotImplementedError


def run(rate: float, *, cpu: float = 1.0, wrong: tuple[str, ...] = ()) -> Run:
    return Run(
        pages=1000,
        pushed_per_s=5000.0,
        pages_per_s=rate,
        workers_ms=cpu / 2,
        redis_ms=cpu / 4,
        database_ms=cpu / 4,
        peak_mb=100.0,
        redis_bytes_per_page=2000.0,
        wrong=wrong,
    )


RUNS = {
    "penstock": [run(5000, cpu=0.2), run(7000, cpu=0.4), run(6000, cpu=0.3)],
    "celery-textbook": [run(200, cpu=6), run(300, cpu=5), run(100, cpu=9)],
    "plain-loop": [run(8000), run(8000), run(8000, wrong=("handled: 999 instead of 1,000",))],
}


def bench(*names: str) -> Bench:
    peers = [peer(name) for name in names]
    return Bench(results=results(peers, {name: RUNS[name] for name in names}), pages=1000, rounds=3)


def test_figures_are_medians_with_their_spread() -> None:
    told = bench("penstock", "celery-textbook").results[0].to_json()
    assert (told["pages_per_s_min"], told["pages_per_s"], told["pages_per_s_max"]) == (5000, 6000, 7000)
    assert (told["cpu_ms_per_page_min"], told["cpu_ms_per_page"], told["cpu_ms_per_page_max"]) == (0.2, 0.3, 0.4)
    assert told["cpu_ms_workers"] == 0.15
    assert told["rows_ok"] is True


def test_ratios_are_those_of_the_medians() -> None:
    penstock, textbook, loop = bench("penstock", "celery-textbook", "plain-loop").results
    assert penstock.ratio_to_textbook == 30
    assert textbook.ratio_to_textbook == 1
    assert penstock.ratio_to_plain_loop == 0.75
    assert loop.ratio_to_plain_loop == 1


def test_there_is_no_ratio_to_what_did_not_run() -> None:
    told = bench("penstock").results[0].to_json()
    assert told["ratio_to_textbook"] is None
    assert told["ratio_to_plain_loop"] is None


def test_wrong_rows_of_one_run_count_for_all() -> None:
    loop = bench("plain-loop").results[0]
    assert not loop.rows_ok
    assert loop.to_json()["wrong"] == ["handled: 999 instead of 1,000"]


def test_every_peer_is_there_under_its_name_and_says_how_it_is_set_up() -> None:
    for name in MODULES:
        found = peer(name)
        assert found.name == name
        assert found.settings
        assert 0 < found.share <= 1


def test_an_unknown_peer_is_named() -> None:
    with pytest.raises(UsageError, match="no peer 'celary'"):
        chosen(["penstock", "celary"], _silent)


def test_a_peer_knows_which_of_its_packages_are_missing() -> None:
    assert Idle().missing() == ["no_such_package_anywhere"]


def test_what_is_not_installed_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.rounds.peer", lambda name: Idle() if name == "bytewax" else peer(name))
    told: list[str] = []
    names = {one.name for one in chosen(None, told.append)}
    assert "penstock" in names
    assert "idle" not in names
    assert any("bytewax needs no_such_package_anywhere" in line and "make bench" in line for line in told)
    with pytest.raises(UsageError, match="make bench"):
        chosen(["bytewax"], _silent)


def test_the_report_has_all_figures_and_says_what_is_wrong() -> None:
    text = report.render(bench("penstock", "celery-textbook", "plain-loop"), "penstock bench --rounds 3")
    assert "Made by `penstock bench --rounds 3`: 1,000 pages, 3 rounds" in text
    assert "| penstock | 6,000 (5,000 to 7,000) | 30.0 | 0.75 | 5,000 | 1,000 | right |" in text
    assert "| plain-loop | 8,000 (8,000 to 8,000) | 40.0 | 1.00 | 5,000 | 1,000 | **wrong** |" in text
    assert "| penstock | 0.300 (0.200 to 0.400) | 0.150 | 0.075 | 0.075 | 100 | 2,000 |" in text
    longest = max(text.splitlines(), key=lambda line: line.count("█"))
    assert longest.startswith(("plain-loop", "celery-textbook"))
    for name in ("penstock", "celery-textbook", "plain-loop"):
        assert f"| {name} | {peer(name).settings} |" in text


def test_a_tree_of_processes_counts_itself_and_its_descendants_only() -> None:
    processes = {1: Seen(0, 100.0), 2: Seen(1, 3.0), 3: Seen(2, 0.5), 4: Seen(1, 7.0), 5: Seen(3, 0.25)}
    assert sorted(tree(processes, [2])) == [2, 3, 5]
    assert cpu_seconds(processes, [2]) == 3.75
    assert cpu_seconds(processes, [2, 4, 99]) == 10.75


def test_proc_tells_of_this_process() -> None:
    seen = every_process()[os.getpid()]
    assert seen.parent == os.getppid()
    assert 0 < seen.cpu < 3600
    assert memory_bytes([os.getpid()]) > 1_000_000


def test_the_checkout_has_what_the_report_points_to() -> None:
    folder = Path(report.__file__).parent
    for name in ("pages.py", "tables.sql", "work.py"):
        assert (folder / name).is_file()


def _silent(_: str) -> None:
    pass
