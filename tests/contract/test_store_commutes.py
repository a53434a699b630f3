from __future__ import annotations

import itertools
import multiprocessing
import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.steps.dedupe import FirstOf, Identity, Observation
from tasks.steps.page import Arrival, FailureResult, ItemState, PageResult
from tests.support.arrivals import NOW, broken, item, moved, page
from tests.support.observations import State, reference
from worker.store import SqlStore, open_store

MICRO = 1_000_000

observations = st.lists(
    st.builds(
        Observation,
        st.sampled_from([Identity("s", "a"), Identity("t", "b")]),
        st.sampled_from("xyz"),
        st.integers(0, 9),
    ),
    max_size=10,
)


def arrival_of(one: Observation) -> Arrival:
    arrived = page(one.identity.item_key, one.content_hash, source=one.identity.source)
    return moved(arrived, observed_at=one.observed_at)


def state_of(store: SqlStore) -> State:
    """Read back what the store made of its observations, and check that the pages fit their revisions."""
    state = State()
    heads: dict[Identity, tuple[int, int, str, int, int]] = {}
    with store._driver.transaction(write=False) as tx:
        for row in tx.run(
            """SELECT source, item_key, revision.content_hash, revision.first_seen, revision.last_seen, page.first_seen,
              page.last_seen, page.content_hash, page.head_first_seen, page.revisions
            FROM page JOIN revision ON page_id = page.id ORDER BY revision.first_seen, revision.content_hash"""
        ):
            identity = Identity(row[0], row[1])
            state.segments.setdefault(identity, []).append((row[2][2:], row[3], row[4]))
            heads[identity] = (row[5], row[6], row[7][2:], row[8], row[9])
        for content, observed_at, source, key in tx.run(
            "SELECT content_hash, observed_at, source, item_key FROM content"
        ):
            state.contents[content[2:]] = FirstOf(observed_at, Identity(source, key))
    for identity, segments in state.segments.items():
        content, first, last = segments[-1]
        assert heads[identity] == (segments[0][1], last, content, first, len(segments))
    return state


@pytest.fixture(scope="module")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    open_store(f"sqlite:///{path}").close()
    return path


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(observations, st.randoms(use_true_random=False))
def test_any_order_and_any_batches_end_in_the_same_rows(
    empty_sqlite: Path, of: list[Observation], rng: random.Random
) -> None:
    # All that is drawn is drawn before the store is opened: Hypothesis may end an example at any draw.
    cuts = [0, *sorted(rng.randrange(len(of) + 1) for _ in range(3)), len(of)]
    arrivals = [arrival_of(one) for one in rng.sample(of, len(of))]
    with tempfile.TemporaryDirectory(dir=empty_sqlite.parent) as folder:
        path = Path(folder) / "one.db"
        shutil.copyfile(empty_sqlite, path)
        with closing(open_store(f"sqlite:///{path}")) as store:
            for start, end in itertools.pairwise(cuts):
                store.commit(arrivals[start:end], worker="w", now=NOW)
            assert state_of(store) == reference(of)


def crawl(seed: int, count: int) -> tuple[list[Observation], list[Arrival]]:
    """Make pages of few identities and fewer contents, so that workers meet at all of them; some are broken."""
    rng = random.Random(seed)
    of: list[Observation] = []
    arrivals: list[Arrival] = []
    for _ in range(count):
        key, content, at = str(rng.randrange(25)), f"c{rng.randrange(12)}", rng.randrange(1000)
        if rng.random() < 0.1:
            arrivals.append(moved(broken(key, f"{rng.random()}".encode()), observed_at=at))
            continue
        named = [item(f"i{rng.randrange(40)}", rng.choice([ItemState.DUE, ItemState.BOUNDED])) for _ in range(6)]
        of.append(Observation(Identity("s", key), content, at))
        arrivals.append(moved(page(key, content, discovered=named), observed_at=at))
    return of, arrivals


def drain(url: str, batches: Sequence[Sequence[Arrival]], worker: str, ready: Any) -> None:
    """Commit batches as a worker does; this runs in a process of its own."""
    store = open_store(url)
    ready.wait(30)
    for batch in batches:
        store.commit(batch, worker=worker, now=NOW)
    store.close()


def share(arrivals: Sequence[Arrival], seed: int) -> list[list[list[Arrival]]]:
    """Deal arrivals to two workers in batches; a fifth goes to both, as when one is thought dead and is not."""
    rng = random.Random(seed)
    piles: list[list[Arrival]] = [[], []]
    for one in arrivals:
        for pile in piles if rng.random() < 0.2 else [rng.choice(piles)]:
            pile.append(one)
    for pile in piles:
        rng.shuffle(pile)
    return [[pile[at : at + 10] for at in range(0, len(pile), 10)] for pile in piles]


def in_processes(url: str, piles: Sequence[Sequence[Sequence[Arrival]]]) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(len(piles))
    workers = [spawn.Process(target=drain, args=(url, pile, f"w{n}", ready)) for n, pile in enumerate(piles)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0


def in_threads(url: str, piles: Sequence[Sequence[Sequence[Arrival]]]) -> None:
    ready = threading.Barrier(len(piles))
    workers = [threading.Thread(target=drain, args=(url, pile, f"w{n}", ready)) for n, pile in enumerate(piles)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive()


@pytest.mark.parametrize("together", [in_processes, in_threads])
def test_workers_that_meet_at_the_same_rows_end_as_one_alone_would(
    made_url: str, store: SqlStore, together: Callable[[str, Sequence[Sequence[Sequence[Arrival]]]], None]
) -> None:
    seed = random.randrange(1_000_000)
    of, arrivals = crawl(seed, 600)
    together(made_url, share(arrivals, seed))
    assert state_of(store) == reference(of), f"seed {seed}"
    (ledger,) = store.ledger()
    assert ledger.delivered == len(arrivals), f"seed {seed}"
    assert store.delivered_among("e1", [one.entry_id for one in arrivals]) == {one.entry_id for one in arrivals}
    assert ledger.outcomes["new"] + ledger.outcomes["duplicate"] == len({one.identity for one in of})
    assert ledger.outcomes["new"] <= len({one.content_hash for one in of})
    store.note_accepted(epoch="e1", accepted=len(arrivals), first_waiting=None, now=NOW)
    store.upkeep(now=NOW)
    assert items_of(store) == expected_items(arrivals), f"seed {seed}"
    assert open_failures(store) == expected_failures(of, arrivals), f"seed {seed}"


def items_of(store: SqlStore) -> dict[str, tuple[str, int, str | None]]:
    with store._driver.transaction(write=False) as tx:
        rows = tx.run("SELECT item_key, state, depth, discovered_by FROM item")
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def expected_items(arrivals: Sequence[Arrival]) -> dict[str, tuple[str, int, str | None]]:
    expected: dict[str, tuple[str, int, str | None]] = {}
    named: dict[str, list[tuple[int, str, str]]] = {}
    for one in arrivals:
        if isinstance(one.result, PageResult):
            expected[one.result.item_key] = ("fetched", 0, None)
            for mentioned in one.result.discovered:
                told = (one.observed_at, one.result.item_key, str(mentioned.state))
                named.setdefault(mentioned.item_key, []).append(told)
    for key, mentions in named.items():
        state = "due" if any(told[2] == "due" for told in mentions) else "bounded"
        expected[key] = (state, 1, min(mentions)[1])
    return expected


def open_failures(store: SqlStore) -> dict[str, int]:
    with store._driver.transaction(write=False) as tx:
        return dict(tx.run("SELECT item_key, observed_at FROM failure WHERE state = 'dead'"))


def expected_failures(of: Sequence[Observation], arrivals: Sequence[Arrival]) -> dict[str, int]:
    """An identity has an open failure if its last broken payload came no earlier than its last good one."""
    good: dict[str, int] = {}
    for one in of:
        good[one.identity.item_key] = max(one.observed_at, good.get(one.identity.item_key, one.observed_at))
    bad: dict[str, int] = {}
    for arrival in arrivals:
        key = arrival.result.item_key
        if isinstance(arrival.result, FailureResult) and arrival.observed_at >= good.get(key, arrival.observed_at):
            bad[key] = max(arrival.observed_at, bad.get(key, arrival.observed_at))
    return bad
