"""``python -m tests.chaos``: see ``--help``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any, get_args

from tests.chaos import chaos, report
from tests.chaos.peer import Variant
from tests.chaos.plan import StoreKind
from tests.chaos.run import Options, say


def main() -> int:
    """Run, write the report, and return 0 when all holds."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = given.report
    reports: list[dict[str, Any]] = []
    for number, store in enumerate(given.store or get_args(StoreKind)):
        options = Options(
            store=store,
            seed=given.seed + number,
            seconds=given.seconds,
            rate=given.rate,
            folder=path.with_suffix("") / store,
            longest=given.longest,
        )
        say(f"chaos on {store}: seed {options.seed}, {options.seconds:.0f} s; logs in {options.folder}")
        reports.append(chaos.run_plain(options, given.variant) if given.pipeline == "celery" else chaos.run(options))
        report.write(reports, path)
        for one in reports[-1]["verdicts"]:
            say(f"{'ok   ' if one['holds'] else 'WRONG'} {one['name']}: {one['seen']}")
    say(f"{sum(one['kills_in_all'] for one in reports):,} SIGKILLs; report: {path}")
    return 0 if all(one["holds"] for one in reports) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Faults under load, then the invariants."
    )
    parser.add_argument(
        "--store", action="append", choices=get_args(StoreKind), help="default: both, one after another"
    )
    parser.add_argument("--seconds", type=float, default=900, help="under load, for each store (default %(default)s)")
    parser.add_argument("--seed", type=int, default=2026, help="of plan and pages; the second store has the next one")
    parser.add_argument("--rate", type=float, default=60, help="pages a second (default %(default)s)")
    parser.add_argument("--longest", type=float, default=15, help="seconds that a fault may last (default %(default)s)")
    parser.add_argument("--pipeline", choices=("penstock", "celery"), default="penstock", help="default %(default)s")
    parser.add_argument("--variant", choices=get_args(Variant), default="tuned", help="of celery, default %(default)s")
    parser.add_argument("--report", type=Path, default=Path("var/chaos/report.md"), help="default %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
