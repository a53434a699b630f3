from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tasks.ports import FetchFailure
from tasks.steps.page import Arrival, RetryArrival
from tests.support.arrivals import EPOCH, NOW, SECOND, broken, commit, failure, item, moved, page, retry_of
from tests.support.frontier import failed, only
from worker.store import FailureFilter, SqlStore, folding, open_store, retention

HOUR = 3600 * SECOND
DAY = 24 * HOUR
MS = NOW // 1000
KEEP: dict[str, Any] = {"deliveries_us": 30 * DAY, "payloads_us": 0, "first_waiting": None}


def _tidy(store: SqlStore, now: int, **terms: Any) -> Counter[str]:
    done: Counter[str] = Counter()
    more = True
    while more:
        counts, more = store.tidy(**{**KEEP, **terms}, now=now)
        done.update(counts)
    return done


def _pushed(arrival: Arrival, number: int, epoch: str = EPOCH) -> Arrival:
    """The arrival as the ``number``-th entry of its epoch, a second after the one before it."""
    return moved(arrival, epoch=epoch, entry_id=f"{MS + 1000 * number}-0", serial=number)


def _pages(first: int, last: int, text: str = "t") -> list[Arrival]:
    return [_pushed(page(f"p{n % 7}", f"{text}{n % 3}", at=n), n) for n in range(first, last + 1)]


def _sums(store: SqlStore) -> tuple[dict[str, int], Any, Any]:
    (one,) = [one for one in store.ledger() if one.epoch == EPOCH]
    counts = store.counts()
    return dict(one.outcomes), counts.outcomes, counts.sources


def _rows(store: SqlStore, table: str) -> int:
    with store._driver.transaction(write=False) as tx:
        return int(tx.run(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 (a word of the test)


def test_old_deliveries_go_and_their_sums_stay(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 4)
    commit(store, *_pages(1, 10), now=NOW)
    commit(store, *(moved(one, epoch="e2") for one in _pages(1, 6)), now=NOW)
    commit(store, *_pages(11, 20), now=NOW + 20 * DAY)
    before = _sums(store)
    assert _tidy(store, NOW + 31 * DAY)["deliveries_pruned"] == 16
    assert _sums(store) == before
    assert [(run.first, run.last) for run in store.serial_runs(EPOCH)] == [(11, 20)]
    assert {one.epoch: one.pruned_serial for one in store.ledger()} == {EPOCH: 10, "e2": 6}
    assert _tidy(store, NOW + 31 * DAY) == Counter(dict.fromkeys(_tidy(store, NOW + 31 * DAY), 0))


def test_a_delivery_whose_entry_may_still_be_in_the_stream_stays(store: SqlStore) -> None:
    commit(store, *_pages(1, 10))
    assert _tidy(store, NOW + 31 * DAY, first_waiting=f"{MS + 4000}-0")["deliveries_pruned"] == 3
    assert {one.entry_id for one in _pages(4, 10)} == store.delivered_among(
        EPOCH, [one.entry_id for one in _pages(1, 10)]
    )


def test_a_delivery_that_an_open_failure_needs_stays_until_it_is_settled(store: SqlStore) -> None:
    broken_one = _pushed(broken("x", retry_at=NOW), 1)
    commit(store, broken_one, *_pages(2, 4))
    later = NOW + 31 * DAY
    assert _tidy(store, later)["deliveries_pruned"] == 3
    assert store.commit_retry(_repaired(store, later), worker="w", now=later) == "new"
    (ledger,) = store.ledger()
    assert (ledger.outcomes["failed"], ledger.outcomes["new"], ledger.delivered) == (0, 4, 4)
    assert _tidy(store, later + 2 * HOUR)["deliveries_pruned"] == 1
    assert _rows(store, "delivery") == 0
    assert store.ledger()[0].delivered == 4


def _repaired(store: SqlStore, now: int) -> RetryArrival:
    fixed = page("x", "mended")
    return retry_of(store, now=now, result=fixed.result)


def test_the_bytes_of_old_payloads_go_but_not_those_of_failures(store: SqlStore) -> None:
    commit(store, page("1", "a"), broken("x", b"kept"), broken("y", b"dropped"))
    store.drop(FailureFilter(item="y"), now=NOW)
    assert _tidy(store, NOW + 31 * DAY)["payloads_pruned"] == 0
    assert _tidy(store, NOW + 31 * DAY, payloads_us=30 * DAY)["payloads_pruned"] == 1
    assert {store.failure_payload(one["id"]) for one in store.failures()} == {b"kept", b"dropped"}
    commit(store, page("1", "a", at=9), now=NOW + 31 * DAY)
    assert _rows(store, "payload") == 3


def test_bytes_that_are_being_deleted_are_there_when_a_failure_needs_them(fresh_postgres_url: str) -> None:
    """A failure comes with old bytes that no failure needed when the deletion began to look.

    SQLite has one writer at a time: there is no meanwhile.
    """
    store, other = open_store(fresh_postgres_url), open_store(fresh_postgres_url)
    commit(store, page("1", "a", body=b"the same bytes"))
    with store._driver.transaction() as tx:
        retention.prune_payloads(
            tx, None, retention.Retention(deliveries_us=0, payloads_us=DAY, first_waiting=None), now=NOW + 2 * DAY
        )
        failing = threading.Thread(target=commit, args=(other, broken("x", b"the same bytes", at=5)))
        failing.start()
        failing.join(0.5)
        assert failing.is_alive()
    failing.join()
    (one,) = store.failures()
    assert store.failure_payload(one["id"]) == b"the same bytes"
    store.close()
    other.close()


def test_sums_are_folded_into_one_row_for_an_hour_and_for_an_old_day(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "PORTION", 5)
    for number in range(1, 41):
        commit(store, _pushed(page(f"p{number}", f"t{number}"), number), worker=f"w{number}", now=NOW + number * HOUR)
        commit(
            store, _pushed(page(f"q{number}", f"u{number}"), 100 + number), worker=f"v{number}", now=NOW + number * HOUR
        )
    before, rows = _sums(store), _rows(store, "outcome_count")
    assert _tidy(store, NOW + 42 * HOUR)["sums_folded"] > 0
    assert _sums(store) == before
    assert _rows(store, "outcome_count") <= 41 < rows
    _tidy(store, NOW + 12 * DAY)
    assert _sums(store) == before
    assert _rows(store, "outcome_count") <= 3


def test_a_retry_that_moves_a_folded_sum_keeps_the_totals_exact(store: SqlStore) -> None:
    commit(store, *(_pushed(broken(f"x{n}"), n) for n in range(5)), worker="w5")
    commit(store, _pushed(broken("x", retry_at=NOW), 9), worker="w1")
    later = NOW + 12 * DAY
    _tidy(store, later)
    assert _rows(store, "outcome_count") == 1
    store.commit_retry(_repaired(store, later), worker="w2", now=later)
    assert _sums(store)[0] == {"new": 1, "failed": 5, "revision": 0, "unchanged": 0, "duplicate": 0}
    _tidy(store, later + HOUR)
    assert _sums(store)[0] == {"new": 1, "failed": 5, "revision": 0, "unchanged": 0, "duplicate": 0}
    assert _rows(store, "outcome_count") == 2


def test_nothing_is_counted_twice_or_lost_while_others_commit(
    store: SqlStore, made_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "PORTION", 3)
    monkeypatch.setattr(retention, "PORTION", 5)
    errors: list[BaseException] = []

    def work(name: str, batches: Sequence[Sequence[Arrival]]) -> None:
        own = open_store(made_url)
        try:
            for at, batch in enumerate(batches):
                # into hours that are folded, and entries that are old enough to be pruned, at the same time
                own.commit(batch, worker=name, now=NOW + (at % 9) * HOUR)
                if at % 5 == 4:
                    _retry_all(own, name)
        except BaseException as error:  # noqa: BLE001 (shown below)
            errors.append(error)
        finally:
            own.close()

    batches = [
        [_mixed(name, 40 * name + 4 * number + one) for one in range(4)] for name in range(3) for number in range(10)
    ]
    threads = [threading.Thread(target=work, args=(f"w{at}", batches[10 * at : 10 * at + 10])) for at in range(3)]
    for thread in threads:
        thread.start()
    now = NOW + 40 * DAY
    while any(thread.is_alive() for thread in threads):
        now += 2 * HOUR
        store.tidy(**KEEP, now=now)
        assert store.ledger() == [] or store.ledger()[0].delivered <= 120
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.ledger()[0].delivered == 120
    for days in (1, 2):  # the rest of the pass that is under way, and a whole one
        _tidy(store, now + days * DAY)
    (one,) = store.ledger()
    assert one.delivered == 120
    assert one.outcomes["failed"] == _rows(store, "delivery")  # what open failures need is all that is left
    assert _rows(store, "outcome_count") <= 2 * 5


def _mixed(name: int, number: int) -> Arrival:
    """One of three is broken, a part of them to be tried again at once."""
    if number % 3 == 0:
        return _pushed(broken(f"b{number}", f"{number}".encode(), retry_at=NOW if number % 2 else None), 1 + number)
    return _pushed(page(f"{name}-{number}", f"t{number}"), 1 + number)


def _retry_all(store: SqlStore, name: str) -> None:
    for lease in store.claim_failures(limit=3, lease_us=60 * SECOND, now=NOW + SECOND, parser_versions={}):
        mended = page(lease.payload.item or "", f"mended by {name} {lease.id}").result
        retry = RetryArrival(
            failure_id=lease.id,
            lease_token=lease.token,
            observed_at=lease.observed_at,
            payload=lease.payload,
            payload_hash=lease.payload_hash,
            result=mended,
        )
        store.commit_retry(retry, worker=name, now=NOW + SECOND)


def test_the_numbers_of_deliveries_are_found_as_runs(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.serials.PORTION", 4)
    numbers = [1, 2, 3, 4, 5, 6, 9, 10, None, 11, 3, 20]
    arrivals = [moved(_pushed(page(f"p{at}", "t"), at), serial=number) for at, number in enumerate(numbers)]
    commit(store, *arrivals)
    found = [(run.first, run.last, run.first_entry, run.last_entry) for run in store.serial_runs(EPOCH)]
    ids = [one.entry_id for one in arrivals]
    assert found == [
        (1, 6, ids[0], ids[5]),
        (9, 11, ids[6], ids[9]),
        (3, 3, ids[10], ids[10]),
        (20, 20, ids[11], ids[11]),
    ]
    assert store.serial_entries(EPOCH, 3, 4, limit=9) == [(ids[2], 3), (ids[3], 4), (ids[10], 3)]
    assert store.serial_runs("another") == []


def test_one_process_takes_the_turn(store: SqlStore, made_url: str) -> None:
    other = open_store(made_url)
    assert store.take_turn("audit", every_us=60 * SECOND, now=NOW)
    assert not other.take_turn("audit", every_us=60 * SECOND, now=NOW + SECOND)
    assert other.take_turn("audit", every_us=60 * SECOND, now=NOW + 60 * SECOND)
    assert other.take_turn("audit", every_us=60 * SECOND, now=NOW)  # the clock was set back
    store.note("audit", "7")
    assert other.noted("audit") == "7"
    other.close()


def test_an_acknowledgement_is_on_record(store: SqlStore) -> None:
    store.note_accepted(epoch=EPOCH, accepted=3, first_waiting=None, now=NOW)
    store.upkeep(now=NOW)
    store.acknowledge({EPOCH: 2, "e2": -1}, note="why", now=NOW)
    store.acknowledge({EPOCH: 1}, note="why else", now=NOW + 1)
    known = {one.epoch: (one.acknowledged, one.acknowledged_note) for one in store.ledger()}
    assert known == {EPOCH: (3, "why else"), "e2": (-1, "why")}
    with store._driver.transaction(write=False) as tx:
        rows = tx.run("SELECT action, count, note FROM operator_action ORDER BY id")
    assert rows == [("acknowledge", 3, "why"), ("acknowledge", 1, "why else")]


def test_all_open_failures_are_looked_at_in_turns(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.failures.SUPERSEDED_PORTION", 2)
    commit(store, *(broken(f"x{n}") for n in range(5)))
    with store._driver.transaction() as tx:  # as if the pages had been committed at the same moment
        tx.run(
            """INSERT INTO page
              (source, item_key, first_seen, last_seen, content_hash, head_first_seen, revisions, depth)
            SELECT source, item_key, observed_at + 1, observed_at + 1, '01', 0, 1, 0 FROM failure"""
        )
    assert [store.upkeep(now=NOW)["failures_resolved"] for _ in range(4)] == [2, 2, 1, 0]


def test_attempts_to_fetch_go_with_age_however_long_the_host_is_down(store: SqlStore) -> None:
    commit(store, page("x", "t", discovered=[item("y")]))
    down = FetchFailure(
        error_class="HostDown", message="no answer", fingerprint="fp", status=None, retry_at=NOW + SECOND, counts=False
    )
    for now in (NOW, NOW + 40 * DAY):
        failed(store, only(store, now=now), down, now=now)
    assert _tidy(store, NOW + 41 * DAY)["attempts_pruned"] == 1
    assert _rows(store, "attempt") == 1


def test_the_attempts_of_open_failures_stay(store: SqlStore) -> None:
    commit(store, broken("x", retry_at=NOW), broken("y", retry_at=NOW))
    for _ in range(2):
        (lease,) = store.claim_failures(limit=1, lease_us=SECOND, now=NOW + SECOND, parser_versions={})
        retry = RetryArrival(
            failure_id=lease.id,
            lease_token=lease.token,
            observed_at=lease.observed_at,
            payload=lease.payload,
            payload_hash=lease.payload_hash,
            result=replace(failure(lease.payload.item or ""), retry_at=NOW + DAY),
        )
        store.commit_retry(retry, worker="w", now=NOW + SECOND)
    commit(store, page("y", "t", at=5))
    assert _rows(store, "attempt") == 2
    assert _tidy(store, NOW + 31 * DAY)["attempts_pruned"] == 1
    assert _rows(store, "attempt") == 1
