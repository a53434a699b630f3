"""Pages that end, hang or fill the process that parses them, among good ones."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from tests.acceptance.conftest import Penstock, wait_for
from tests.support.corpus import Push, corpus, reference
from tests.support.plugins import HOSTILE, SOURCE, install

GOOD, EACH = 4_900, 25
KINDS = {  # what the poison pages do, each kind a quarter of them, and what is said of them
    "segfault": ("segfault",),
    "hang": ("hang", "native"),
    "memory": ("memory",),
    "recursion": ("recursion", "deep"),
}
CLASSES = {
    "segfault": "Poison",
    "hang": "TimeLimit",
    "native": "TimeLimit",
    "memory": "MemoryLimit",
    "recursion": "MemoryLimit",
    "deep": "Poison",
}


@pytest.fixture
def plugins(penstock: Penstock) -> Path:
    """A folder for plug-ins."""
    folder = penstock.home.parent / "plugins"
    folder.mkdir()
    penstock.environ["PYTHONPATH"] = str(folder)
    penstock.home.mkdir(exist_ok=True)
    return folder


def poison() -> list[tuple[str, str]]:
    """Return the poison pages: item and body."""
    doings = [doing for kind in KINDS.values() for doing in (kind * EACH)[:EACH]]
    return [(f"poison-{number}", f"poison {doing} {number}") for number, doing in enumerate(doings)]


def good(count: int) -> list[Push]:
    """Return pushes of whole pages."""
    return [push for push in corpus(seed=11, pages=count + count // 20) if not push.broken][:count]


def mixed(pages: Sequence[Push], bad: Sequence[tuple[str, str]]) -> list[str]:
    """Return the envelopes of both, the good ones in their order and the bad ones anywhere among them."""
    rng = random.Random(7)
    lines = [push.envelope() for push in pages]
    for item, body in bad:
        lines.insert(rng.randrange(len(lines)), json.dumps({"source": "bench", "item": item, "body": body}))
    return lines


def test_a_hundred_poison_pages_harm_themselves_alone(penstock: Penstock, plugins: Path) -> None:
    install(plugins, name="hostile", source=HOSTILE)
    (penstock.home / "sources.toml").write_text('[sources.bench]\nparser = "hostile"\n')
    penstock.environ |= {"PENSTOCK_PAGE_SECONDS": "0.2", "PENSTOCK_PROCESS_MEMORY": "400MiB"}
    pages, bad = good(GOOD), poison()
    penstock.push_lines(mixed(pages, bad))
    worker = penstock.start("work", "--only", "ingest", "--concurrency", "2")

    main = main_process(worker.pid)
    with redis.Redis(unix_socket_path=str(penstock.home / "redis" / "redis.sock")) as client:
        wait_for("the stream to be empty", lambda: not client.xlen("{penstock}:pages"), seconds=200)
    assert worker.poll() is None
    assert main_process(worker.pid) == main

    kept = failures(penstock)
    assert Counter(one["error_class"] for one in kept.values()) == Counter(CLASSES[body.split()[1]] for _, body in bad)
    for item, body in bad:
        assert kept[item]["error_class"] == CLASSES[body.split()[1]], (body, kept[item]["message"])
    for item, body in bad[:: len(bad) // 10]:
        assert penstock.run("failures", "--payload", str(kept[item]["id"])) == body
    truth = reference(pages)
    assert penstock.outcomes() == {**truth.outcomes, "failed": len(bad)}
    stored = penstock.export()
    assert {key: (row["revision"], tuple(row["paragraphs"])) for key, row in stored.items()} == {
        f"bench/{item}": (len(texts), texts[-1]) for item, texts in truth.texts.items()
    }
    assert penstock.json("audit")["balanced"] is True
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0


def main_process(pid: int) -> str:
    """Return when the process started, and what it runs."""
    started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return started + Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def failures(penstock: Penstock) -> dict[str, dict[str, object]]:
    """Return each failure by its item."""
    groups = penstock.json("failures")
    return {
        one["item"]: one for group in groups for one in penstock.json("failures", "--fingerprint", group["fingerprint"])
    }


def test_a_failure_of_an_older_plug_in_is_resolved_by_itself(penstock: Penstock, plugins: Path) -> None:
    install(plugins)
    (penstock.home / "sources.toml").write_text('[sources.site]\nparser = "mine"\n')
    penstock.push_lines([json.dumps({"source": "site", "item": "1", "body": "--- The title\nThe text."})])
    penstock.run("work", "--drain")
    assert [one["error_class"] for one in penstock.json("failures")] == ["Malformed"]

    install(plugins, version=2, source=SOURCE.replace('startswith("===")', 'startswith(("===", "---"))'))
    penstock.run("work", "--drain")
    assert penstock.json("status")["failures"]["resolved"] == 1
    assert penstock.outcomes() == {"new": 1}
    (page,) = penstock.export().values()
    assert (page["title"], page["parser"], page["parser_version"]) == ("The title", "mine", 2)
    assert penstock.json("audit")["balanced"] is True
