from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tasks.errors import TimeLimit
from worker.limits import Limited


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd="."
    )


def spin() -> None:
    while True:
        pass


def test_python_code_is_interrupted_after_its_cpu_time() -> None:
    began = time.process_time()
    with pytest.raises(TimeLimit, match=r"more than 0\.05 seconds of CPU time"), Limited(0.05):
        spin()
    assert 0.04 < time.process_time() - began < 5


def test_waiting_costs_nothing() -> None:
    with Limited(0.05):
        time.sleep(0.15)


def test_a_parser_that_swallows_the_interruption_is_over_its_limit_all_the_same() -> None:
    with pytest.raises(TimeLimit), Limited(0.05), suppress(Exception):
        spin()


def test_the_limit_ends_with_its_block_and_holds_again_in_the_next() -> None:
    limited = Limited(0.1)
    for _ in range(3):
        with limited:
            pass
        assert signal.getitimer(signal.ITIMER_VIRTUAL) == signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    with pytest.raises(TimeLimit), limited:
        spin()


def test_native_code_that_hangs_is_ended_with_its_process() -> None:
    done = run(
        "import itertools\nfrom worker.limits import Limited\nwith Limited(0.1):\n    sum(itertools.repeat(1))\n"
    )
    assert done.returncode == -signal.SIGPROF


def test_a_process_out_of_memory_goes_on() -> None:
    done = run(
        "from worker.limits import Limited, limit_memory\n"
        "from tasks.guard import guarded\n"
        "from tasks.steps.page import Payload, SourceProfile\n"
        "from tasks.steps.parse import Parser, add_parser\n"
        "def parse(payload, profile):\n"
        "    held = []\n"
        "    while True:\n"
        "        held.append(bytearray(50_000))\n"
        "add_parser(Parser(name='eater', version=1, interface=1, parse=parse))\n"
        "limit_memory(300 << 20)\n"
        "page = Payload(source='a', body=b'x')\n"
        "for _ in range(3):\n"
        "    try:\n"
        "        guarded(page, SourceProfile(name='a', parser='eater'), lambda: Limited(30))\n"
        "    except Exception as error:\n"
        "        print(error.error_class, error.details)\n"
        "    held = bytearray(100 << 20)\n"
    )
    assert done.stdout.splitlines() == ["MemoryLimit {'parser': 'eater'}"] * 3, done.stderr
