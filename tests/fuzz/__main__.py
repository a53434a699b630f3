"""``python -m tests.fuzz``: each target in a process of its own, one after the other, for its share of the time."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS, seeds

_HANGS_SECONDS = 2
_MEGABYTES = 2048


def main() -> int:
    """Fuzz; return 1 when a target failed, and say which input it failed on."""
    given = _arguments()
    if given.inside:
        return _inside(given.inside, given.arguments)
    found = [name for name in given.targets or TARGETS if not _run(name, given.seconds)]
    _say(f"failed: {', '.join(found)}" if found else "nothing found")
    return 1 if found else 0


def _run(name: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own; keep what it fails on. Return whether it never failed."""
    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        begins, fails = Path(folder, "corpus"), Path(folder, "fails")
        begins.mkdir()
        fails.mkdir()
        for seed in seeds(name):
            shutil.copy(seed, begins)
        limits = [f"-max_total_time={seconds}", f"-timeout={_HANGS_SECONDS}", f"-rss_limit_mb={_MEGABYTES}"]
        options = [*limits, f"-artifact_prefix={fails}/", "-max_len=20000", "-print_final_stats=1", str(begins)]
        command = [sys.executable, "-m", "tests.fuzz", "--inside", name, *options]
        ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        _say(f"{name}: {_summary(ended.stdout)}")
        for one in sorted(fails.iterdir()):
            kept = CORPUS / name / one.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(one, kept)
            _say(f"{name} fails on {kept}:\n{ended.stdout[-4000:]}")
        return ended.returncode == 0


def _summary(output: str) -> str:
    """Return what libFuzzer tells in the end: https://llvm.org/docs/LibFuzzer.html#output."""
    told = dict(line[6:].split(":", 1) for line in output.splitlines() if line.startswith("stat::"))
    runs = told.get("number_of_executed_units", "?").strip()
    return f"{runs} runs, {told.get('new_units_added', '?').strip()} new inputs"


def _inside(name: str, arguments: Sequence[str]) -> int:
    """Be the fuzzed process. Never returns: libFuzzer ends it."""
    import atheris  # noqa: PLC0415 (has no wheel for every Python that penstock runs on)

    with atheris.instrument_imports(include=["tasks", "worker"]):
        for module in [one for one in sys.modules if one.startswith(("tasks.", "worker."))]:
            del sys.modules[module]
        del sys.modules["tests.fuzz.targets"]
        from tests.fuzz.targets import TARGETS as INSTRUMENTED  # noqa: PLC0415 (imported again, to be watched)
    atheris.Setup([sys.argv[0], *arguments], INSTRUMENTED[name])
    atheris.Fuzz()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all of them")
    parser.add_argument("--seconds", type=int, default=360, help="for each target (default %(default)s)")
    parser.add_argument("--inside", choices=TARGETS, help=argparse.SUPPRESS)
    given, libfuzzer = parser.parse_known_args()
    unknown = libfuzzer + [name for name in given.targets if name not in TARGETS]
    if unknown and not given.inside:
        parser.error(f"there is no target {' '.join(unknown)}")
    given.arguments = unknown
    return given


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
