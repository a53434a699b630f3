"""The system's clock is set a day ahead, or back: nothing is lost, nothing done twice, and what waits is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.base import Context
from tasks.ingest import pull
from tasks.retry import retry_due
from tests.support.arrivals import NOW, broken, commit
from tests.support.contexts import Shifted, context_of
from tests.support.corpus import corpus, page
from tests.support.crawl import Crawl, payloads
from worker.store import FailureFilter

DAY = 86_400.0


@pytest.fixture
def ctx(either_crawl: Crawl, tmp_path: Path) -> Iterator[Context]:
    with context_of(either_crawl, tmp_path) as built:
        yield built


@pytest.mark.parametrize("shift", [DAY, -DAY])
def test_pages_that_arrive_while_the_clock_jumps_are_stored_as_if_it_had_not(
    either_crawl: Crawl, ctx: Context, shift: float
) -> None:
    pushes = corpus(seed=4, pages=90)
    pages = payloads(pushes)
    clock = Shifted()
    jumpy = replace(ctx, clock=clock)
    for at, clock.seconds in ((0, 0.0), (30, shift), (60, 0.0)):
        either_crawl.stream.push(pages[at : at + 30])
        pull(jumpy)
    either_crawl.check(pushes)


def test_stream_ids_go_on_when_the_clock_of_redis_was_set_back(either_crawl: Crawl, ctx: Context) -> None:
    pushes = corpus(seed=4, pages=40)
    stream = either_crawl.stream
    stream.epoch()
    tomorrow = ctx.clock.now_us() // 1000 + round(DAY * 1000)
    stream._redis.xadd(stream._key, {"a": "b"}, id=f"{tomorrow}-0")
    stream._redis.xdel(stream._key, f"{tomorrow}-0")
    ids = stream.push(payloads(pushes))
    assert [one.partition("-")[0] for one in ids] == [str(tomorrow)] * 40
    pull(ctx)
    either_crawl.check(pushes)


def test_a_failure_leased_by_a_clock_that_ran_ahead_is_tried_again_when_the_time_has_come(
    either_crawl: Crawl, ctx: Context
) -> None:
    store = either_crawl.store
    commit(store, broken("7", page(("The ferry was late.",), ()), retry_at=NOW))
    ahead = Shifted(DAY)
    lease_us = ctx.limits.retry_lease_us
    (lease,) = store.claim_failures(limit=1, lease_us=lease_us, now=ahead.now_us(), parser_versions={})
    assert lease.lease_until > ctx.clock.now_us()
    assert retry_due(replace(ctx, clock=Shifted(DAY + lease_us / 1_000_000 + 1))) == {"resolved": 1}
    assert [one["state"] for one in store.failures(FailureFilter())] == ["resolved"]


def test_a_lease_that_a_clock_running_ahead_took_away_costs_its_holder_the_effect(
    either_crawl: Crawl, ctx: Context
) -> None:
    store = either_crawl.store
    commit(store, broken("7", page(("The ferry was late.",), ()), retry_at=NOW))
    other: list[dict[str, int]] = []
    claim = store.claim_failures

    class Slow(type(store)):  # type: ignore[misc]
        """Another worker, whose clock is ahead, comes in after each claim."""

        def claim_failures(self, **how: object) -> object:
            leases = claim(**how)  # type: ignore[arg-type]
            if not other:
                other.append(dict(retry_due(replace(ctx, clock=Shifted(DAY)))))
            return leases

    slow = Slow(store._driver)
    assert retry_due(replace(ctx, store=slow)) == {"lease_lost": 1}
    assert other == [{"resolved": 1}]
    assert store.counts().outcomes["new"] == 1
