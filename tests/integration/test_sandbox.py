"""Suspect pages in a process of their own: what they do to it, and what is said of them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import PenstockError, Permanent, SandboxAway
from tasks.steps.page import PageResult, Payload, SourceProfile
from tasks.steps.understand import failure_of, understand
from tests.support.pages import CAPTURED
from tests.support.plugins import HOSTILE, install
from worker.sandbox import Sandbox

HOSTILE_SITE = SourceProfile(name="site", parser="hostile")


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    install(tmp_path, name="hostile", source=HOSTILE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    opened = Sandbox(page_seconds=0.3, memory=512 << 20, trial_seconds=15.0, stopping=lambda: False)
    yield opened
    opened.close()


def ask(sandbox: Sandbox, doing: str) -> PageResult | PenstockError:
    """Have a page parsed that does this to its process, or a good page with this text."""
    body = f"poison {doing}" if f"def {doing}(" in HOSTILE else f"Thu Feb 24, 2022 07:41:09\n{doing}\n"
    try:
        return sandbox.understand(Payload(source="site", body=body.encode()), HOSTILE_SITE)
    except PenstockError as error:
        return error


def failed(sandbox: Sandbox, doing: str) -> tuple[str, str]:
    error = ask(sandbox, doing)
    assert isinstance(error, Permanent), error
    assert error.details["parser"] == "hostile"
    assert isinstance(ask(sandbox, "nothing"), PageResult)
    return error.error_class, error.message


def pid_of(sandbox: Sandbox) -> int:
    assert sandbox._process is not None
    return sandbox._process.pid


@pytest.mark.parametrize(
    "doing,error_class,message",
    [
        ("segfault", "Poison", "the parser was ended by SIGSEGV in a process of its own"),
        ("deep", "Poison", "the parser was ended by SIGSEGV in a process of its own"),
        ("vanish", "Poison", "the parser ended it with exit code 3 in a process of its own"),
        ("hang", "TimeLimit", "parsing took more than 0.3 seconds of CPU time"),
        ("stubborn", "TimeLimit", "parsing took more than 0.3 seconds of CPU time"),
        ("native", "TimeLimit", "parsing took more than 0.3 seconds of CPU time"),
        ("memory", "MemoryLimit", "MemoryError: "),
        ("recursion", "MemoryLimit", "RecursionError: maximum recursion depth exceeded"),
        ("leave", "ParserCrash", "SystemExit: 3"),
        ("killed", "Poison", "the parser was ended by SIGKILL in a process of its own, 3 times in a row"),
        ("odd", "ParserCrash", "the parsed page cannot be passed on: "),
    ],
)
def test_what_a_page_does_to_its_process_is_kept_and_the_next_page_is_parsed(
    sandbox: Sandbox, doing: str, error_class: str, message: str
) -> None:
    assert isinstance(ask(sandbox, "nothing"), PageResult)
    told = failed(sandbox, doing)
    assert told[0] == error_class
    assert told[1].startswith(message)


def test_pages_that_raise_leave_the_process_as_it_is(sandbox: Sandbox) -> None:
    ask(sandbox, "nothing")
    before = pid_of(sandbox)
    for doing in ("hang", "recursion", "leave"):
        failed(sandbox, doing)
    assert pid_of(sandbox) == before


def test_a_process_that_is_killed_from_outside_costs_no_page(sandbox: Sandbox) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP):
        ask(sandbox, "nothing")
        os.kill(pid_of(sandbox), number)
        assert isinstance(ask(sandbox, "nothing"), PageResult)


def test_when_all_of_it_is_killed_it_is_started_again(sandbox: Sandbox) -> None:
    for _ in range(2):
        ask(sandbox, "nothing")
        killed = sandbox._process
        assert killed is not None
        os.kill(killed._child.pid, signal.SIGKILL)
        found = [ask(sandbox, "nothing")]
        while sandbox._process is killed:  # its fork may answer until the kernel has ended that too
            found.append(ask(sandbox, "nothing"))
        assert all(isinstance(one, PageResult) for one in found[:-1])
        assert isinstance(found[-1], SandboxAway)
        assert isinstance(ask(sandbox, "nothing"), PageResult)


def test_a_page_that_only_waits_is_over_its_time_in_the_third_trial(sandbox: Sandbox) -> None:
    sandbox._trial_seconds = 0.3
    told = failed(sandbox, "sleep")
    assert told == ("TimeLimit", "parsing gave no answer within 0.3 seconds, 3 times in a row")


def test_a_process_that_stands_still_is_replaced(sandbox: Sandbox) -> None:
    ask(sandbox, "nothing")
    sandbox._trial_seconds = 1.0
    os.kill(pid_of(sandbox), signal.SIGSTOP)
    assert isinstance(ask(sandbox, "x" * 3_000_000), PageResult)


def test_a_slow_trial_without_a_verdict_is_left_to_the_next_call(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.sandbox._PATIENCE_SECONDS", 0.1)
    sandbox._trial_seconds = 0.3
    assert [type(ask(sandbox, "sleep")).__name__ for _ in range(4)] == [
        "Undecided",
        "Undecided",
        "TimeLimit",
        "Undecided",
    ]


def test_a_worker_that_stops_does_not_wait_for_a_trial(sandbox: Sandbox) -> None:
    ask(sandbox, "nothing")
    stops = threading.Event()
    sandbox._stopping = stops.is_set
    threading.Timer(0.3, stops.set).start()
    began = time.monotonic()
    assert isinstance(ask(sandbox, "sleep"), SandboxAway)
    assert time.monotonic() - began < 5


def test_a_process_that_does_not_start_is_no_pages_fault(sandbox: Sandbox, tmp_path: Path) -> None:
    install(tmp_path, name="broken", source="import nothing_of_this_name")
    for _ in range(4):
        error = ask(sandbox, "nothing")
        assert isinstance(error, SandboxAway)
        assert "does not start" in error.message


def test_the_process_ends_with_its_parent() -> None:
    program = (
        "import os, sys, time\n"
        "from tasks.steps.page import Payload, SourceProfile\n"
        "from worker.sandbox import Sandbox\n"
        "box = Sandbox(page_seconds=9, memory=1 << 30, trial_seconds=60, stopping=lambda: False)\n"
        "box.understand(Payload(source='a', body=b'Thu Feb 24, 2022 07:41:09\\nText.\\n'), SourceProfile(name='a'))\n"
        "print(box._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    ends = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and time.monotonic() < ends:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}/cmdline").exists()


def test_a_page_is_understood_there_as_here(sandbox: Sandbox) -> None:
    profile = SourceProfile(name="site", item_url="http://site.example/{id}", max_depth=2)
    for path in sorted(CAPTURED.glob("*.page.*")):
        payload = Payload(source="site", body=path.read_bytes(), url="http://site.example/1")
        assert pickle.dumps(sandbox.understand(payload, profile)) == pickle.dumps(understand(payload, profile))


def test_a_failure_is_described_there_as_here(sandbox: Sandbox) -> None:
    payload = Payload(source="site", body=b'Thu Feb 24, 2022 07:41:09\nText.\nstring(90) "[')
    kept = []
    for parse in (sandbox.understand, understand):
        with pytest.raises(Permanent) as caught:
            parse(payload, SourceProfile(name="site"))
        kept.append(failure_of(caught.value, payload, "00"))
    assert kept[0].fingerprint == kept[1].fingerprint
    assert (kept[0].parser, kept[0].message) == (kept[1].parser, kept[1].message)
    assert "tasks/steps/parse/vardump.py" in (kept[0].traceback or "")
