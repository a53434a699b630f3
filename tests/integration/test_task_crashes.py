"""A process that retries failures or fetches items dies at each point of it; another one ends what it had in hand."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.base import Context
from tasks.fetch import fetch_due
from tasks.ingest import pull
from tasks.retry import retry_due
from tasks.steps.page import SourceProfile
from tests.support.arrivals import NOW, broken, commit, item
from tests.support.arrivals import page as arrived
from tests.support.contexts import Shifted, context_of
from tests.support.corpus import page
from tests.support.crashing import Crash, crashing
from tests.support.crawl import Crawl
from tests.support.hosts import Hosts
from worker.audit import audit
from worker.sources import SourceProfiles
from worker.store import FailureFilter

HOUR = 3600.0


@pytest.fixture
def ctx(either_crawl: Crawl, tmp_path: Path) -> Iterator[Context]:
    # What a dead process held at the gate is free again after twice this.
    with context_of(either_crawl, tmp_path, PENSTOCK_FETCH_TIMEOUT_SECONDS="0.2") as built:
        profiles = SourceProfiles({"s": SourceProfile(name="s", delay_seconds=0)})
        hosts = Hosts({}, body=page(("The ferry to the island leaves at noon.",), ()))
        yield replace(built, profiles=profiles, fetcher=hosts)


def _dies(ctx: Context, point: str, marker: Path, work: Callable[[Context], object]) -> None:
    """Do the work in a process that dies at the point."""
    child = os.fork()
    if not child:
        try:
            work(crashing(ctx, Crash(point, marker)))
        except BaseException:  # noqa: BLE001 (a forked test must not go on as a second pytest)
            traceback.print_exc()
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), os.waitstatus_to_exitcode(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert marker.read_text() == str(child)


@pytest.mark.parametrize("point", ["after_claim", "after_parse", "before_commit", "after_commit"])
def test_a_retry_that_died_is_done_once_in_the_end(
    either_crawl: Crawl, ctx: Context, tmp_path: Path, point: str
) -> None:
    store = either_crawl.store
    whole = page(("The ferry was late again.",), ("8", "9"))
    commit(store, broken("7", whole, retry_at=NOW))
    _dies(ctx, point, tmp_path / "marker", retry_due)
    assert retry_due(ctx) == {}  # leased, or done
    retry_due(replace(ctx, clock=Shifted(HOUR)))
    (record,) = store.find_pages("s/7")
    assert (record["revision"], record["paragraphs"]) == (1, ["The ferry was late again."])
    assert [one["state"] for one in store.failures(FailureFilter())] == ["resolved"]
    assert store.counts().outcomes == dict.fromkeys(store.counts().outcomes, 0) | {"new": 1}
    assert audit(either_crawl.stream, store).balanced


@pytest.mark.parametrize(
    "point,pushed", [("after_claim", 1), ("after_push", 2), ("before_commit", 2), ("after_commit", 1)]
)
def test_a_fetch_that_died_brings_its_page_in_the_end(
    either_crawl: Crawl, ctx: Context, tmp_path: Path, point: str, pushed: int
) -> None:
    store = either_crawl.store
    commit(store, arrived("1", "names another", discovered=[item("2")]))
    _dies(ctx, point, tmp_path / "marker", fetch_due)
    assert fetch_due(ctx) == {}
    time.sleep(0.5)  # the gate's clock is its own
    fetch_due(replace(ctx, clock=Shifted(HOUR)))
    pull(ctx)
    (record,) = store.find_pages("s/2")
    assert (record["revision"], record["parent"]) == (1, "1")
    outcomes = {name: count for name, count in store.counts().outcomes.items() if count}
    assert outcomes == ({"new": 2, "unchanged": 1} if pushed == 2 else {"new": 2})
    assert either_crawl.at_rest()
    assert audit(either_crawl.stream, store).balanced
