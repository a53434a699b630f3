"""The installed command in a subprocess, in a home of its own. Nothing of penstock is imported here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("penstock")


class Penstock:
    """Runs ``penstock`` with one home; its servers and workers end with the test."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environ = {**kept, "PENSTOCK_HOME": str(home), "PENSTOCK_LOG_FORMAT": "json", **environ}
        self._running: list[subprocess.Popen[bytes]] = []

    def run(
        self, *arguments: str | Path, stdin: bytes | None = None, code: int | None = 0, timeout: float = 240
    ) -> str:
        """Run a command; check its exit code; return what it printed."""
        done = self.attempt(*arguments, stdin=stdin, timeout=timeout)
        told = f"{arguments}\n{done.stdout.decode()[-4000:]}\n{done.stderr.decode()[-4000:]}"
        assert code is None or done.returncode == code, f"exit {done.returncode}: {told}"
        return done.stdout.decode()

    def attempt(
        self, *arguments: str | Path, stdin: bytes | None = None, timeout: float = 240
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command and return how it ended."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environ,
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str | Path, code: int | None = 0) -> Any:
        """Run a command with ``--json`` and return what it printed."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start a command in the background."""
        log = (self.home.parent / "background.log").open("ab")
        process = subprocess.Popen(
            [COMMAND, *arguments], env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        self._running.append(process)
        return process

    def push_lines(self, lines: Sequence[str]) -> None:
        """Push NDJSON envelopes through standard input."""
        self.run("push", "-", "--format", "ndjson", stdin="\n".join(lines).encode())

    def export(self) -> dict[str, dict[str, Any]]:
        """Return the stored pages by key."""
        return {row["key"]: row for row in map(json.loads, self.run("export").splitlines())}

    def outcomes(self) -> dict[str, int]:
        """Return the outcomes that occurred."""
        return nonzero(self.json("status")["outcomes"])

    def close(self) -> None:
        """End what is still running."""
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    """Leave out what did not occur."""
    return {name: count for name, count in counts.items() if count}


def wait_for(what: str, check: Any, seconds: float = 60) -> Any:
    """Wait until ``check`` returns something true, and return it."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        value = check()
        if value:
            return value
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain for: {what}")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home outside pytest's folders: PostgreSQL's user must be able to pass through the folders above it."""
    base = Path(tempfile.mkdtemp(prefix="penstock-test-"))
    base.chmod(0o755)
    yield base / "home"
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def penstock(home: Path) -> Iterator[Penstock]:
    """A fresh penstock on the embedded defaults."""
    made = Penstock(home)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either_store(request: pytest.FixtureRequest, home: Path) -> Iterator[Penstock]:
    """A fresh penstock, on each of the two stores."""
    made = Penstock(home)
    if request.param == "postgresql":
        made.environ["PENSTOCK_STORE_URL"] = "embedded-postgres"
    yield made
    made.close()
