"""``python -m tests.chaos``: see ``--help``."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

from tests.chaos import chaos, crawl, report
from tests.chaos.crawl import CrawlOptions
from tests.chaos.peer import Variant
from tests.chaos.plan import StoreKind
from tests.chaos.run import Options, say


def main() -> int:
    """Run, write the report, and return 0 when all holds."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reports = [_run(given)] if given.store else _both(given)
    report.write(reports, given.report, report.of_crawls if given.crawl else report.markdown)
    say(f"{sum(one['kills_in_all'] for one in reports):,} SIGKILLs; report: {given.report}")
    return 0 if all(one["holds"] for one in reports) else 1


def _run(given: argparse.Namespace) -> dict[str, Any]:
    made = _crawl(given) if given.crawl else _load(given)
    for one in made["verdicts"]:
        say(f"{given.store}: {'ok   ' if one['holds'] else 'WRONG'} {one['name']}: {one['seen']}")
    return made


def _load(given: argparse.Namespace) -> dict[str, Any]:
    options = Options(
        store=given.store,
        seed=given.seed,
        seconds=given.seconds,
        rate=given.rate,
        folder=_folder(given),
        longest=given.longest,
    )
    say(f"chaos on {options.store}: seed {options.seed}, {options.seconds:.0f} s; logs in {options.folder}")
    return chaos.run_plain(options, given.variant) if given.pipeline == "celery" else chaos.run(options)


def _crawl(given: argparse.Namespace) -> dict[str, Any]:
    options = CrawlOptions(
        store=given.store,
        seed=given.seed,
        items=given.items,
        hosts=given.hosts,
        kills=given.kills,
        every=given.every,
        folder=_folder(given),
    )
    say(f"a crawl on {options.store}: seed {options.seed}, {options.kills} kills; logs in {options.folder}")
    return crawl.run(options)


def _folder(given: argparse.Namespace) -> Path:
    return Path(given.report.with_suffix("") / given.store)


def _both(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Run both stores at the same time, each in a process of its own with its own servers."""
    options = ("seconds", "rate", "longest", "pipeline", "variant", "items", "hosts", "kills", "every")
    again = [f"--{name}={getattr(given, name)}" for name in options] + ["--crawl"] * given.crawl
    runs: list[tuple[Path, subprocess.Popen[bytes]]] = []
    try:
        for number, store in enumerate(get_args(StoreKind)):
            path = given.report.with_suffix("") / f"{store}.md"
            command = [sys.executable, "-m", "tests.chaos", *again, f"--store={store}", f"--report={path}"]
            runs.append((path, subprocess.Popen([*command, f"--seed={given.seed + number}"])))
        for _, process in runs:
            process.wait()
    finally:
        for _, process in runs:
            process.terminate()
    return [one for path, _ in runs for one in json.loads(path.with_suffix(".json").read_text())]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Faults under load, then the invariants."
    )
    parser.add_argument("--store", choices=get_args(StoreKind), help="default: both at the same time")
    parser.add_argument("--seconds", type=float, default=900, help="under load, for each store (default %(default)s)")
    parser.add_argument("--seed", type=int, default=2026, help="of plan and pages; the second store has the next one")
    parser.add_argument("--rate", type=float, default=40, help="pages a second (default %(default)s)")
    parser.add_argument("--longest", type=float, default=15, help="seconds that a fault may last (default %(default)s)")
    parser.add_argument("--pipeline", choices=("penstock", "celery"), default="penstock", help="default %(default)s")
    parser.add_argument("--variant", choices=get_args(Variant), default="tuned", help="of celery, default %(default)s")
    parser.add_argument("--crawl", action="store_true", help="a crawl instead, whose fetchers are killed")
    parser.add_argument("--items", type=int, default=5000, help="of a crawl (default %(default)s)")
    parser.add_argument("--hosts", type=int, default=50, help="of a crawl (default %(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="of a crawl (default %(default)s)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between kills (default %(default)s)")
    parser.add_argument("--report", type=Path, default=Path("var/chaos/report.md"), help="default %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
