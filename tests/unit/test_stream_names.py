from __future__ import annotations

import os
import subprocess
import sys

from worker.consumers import consumer_name, is_dead_neighbour


def test_a_running_process_is_not_dead() -> None:
    assert not is_dead_neighbour(consumer_name())


def test_a_process_that_ended_is_dead() -> None:
    code = "from worker.consumers import consumer_name; print(consumer_name())"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead_neighbour(name)


def test_a_pid_that_was_given_to_another_process_is_dead() -> None:
    host, namespace, _, start = consumer_name().rsplit("|", 3)
    assert is_dead_neighbour(f"{host}|{namespace}|{os.getpid()}|{int(start) - 1}")


def test_of_another_host_or_container_nothing_is_known() -> None:
    host, namespace, _, _ = consumer_name().rsplit("|", 3)
    assert not is_dead_neighbour(f"elsewhere|{namespace}|999999|1")
    assert not is_dead_neighbour(f"{host}|1|999999|1")
    assert not is_dead_neighbour("a name that somebody else chose")
