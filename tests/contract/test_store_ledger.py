from __future__ import annotations

from tests.support import frontier
from tests.support.arrivals import NOW, SECOND, broken, commit, item, moved, page
from worker.store import EpochLedger, SqlStore


def test_the_ledger_sums_outcomes_by_epoch(store: SqlStore) -> None:
    assert store.ledger() == []
    commit(store, page("1", "a"), page("2", "a", at=1), broken("3"), worker="w1")
    commit(store, page("1", "a", at=3), page("1", "b", at=4), worker="w2", now=NOW + 7200 * SECOND)
    commit(store, moved(page("4", "d"), epoch="e2"))
    store.note_accepted(epoch="e1", accepted=6, first_waiting=None, now=NOW)
    store.note_accepted(epoch="e1", accepted=5, first_waiting=None, now=NOW)
    each = {"new": 1, "revision": 1, "unchanged": 1, "duplicate": 1, "failed": 1}
    other = dict.fromkeys(each, 0) | {"new": 1}
    assert sorted(store.ledger(), key=lambda one: one.epoch) == [
        EpochLedger("e1", each, 6),
        EpochLedger("e2", other, 0),
    ]
    assert [one.delivered for one in store.ledger() if one.epoch == "e1"] == [5]


def test_an_epoch_without_deliveries_is_in_the_ledger(store: SqlStore) -> None:
    store.note_accepted(epoch="e1", accepted=3, first_waiting=None, now=NOW)
    (one,) = store.ledger()
    assert (one.epoch, one.delivered, one.accepted_noted) == ("e1", 0, 3)


def test_an_acknowledgement_does_not_hide_that_the_stream_is_new(store: SqlStore) -> None:
    commit(store, page("x", "t", discovered=[item("y")]))
    store.note_accepted(epoch="e1", accepted=1, first_waiting=None, now=NOW)
    frontier.pushed(store, frontier.only(store))
    store.acknowledge({"e2": 1}, note="the power cut of May", now=NOW)
    noted = [store.note_accepted(epoch="e2", accepted=1, first_waiting=None, now=NOW).items_due_again for _ in "12"]
    assert noted == [1, 0]


def test_delivered_entries_are_told_from_others(store: SqlStore) -> None:
    one, two = page("1", "a"), broken("2")
    commit(store, one, two)
    assert store.delivered_among("e1", [one.entry_id, two.entry_id, "5-0"]) == {one.entry_id, two.entry_id}
    assert store.delivered_among("e2", [one.entry_id]) == set()
    assert store.delivered_among("e1", []) == set()


def test_counts_are_told_by_source(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("1", "a", at=1, source="t"), broken("x", source="u"))
    counts = store.counts()
    assert counts.pages == 2
    assert counts.sources == {
        "s": {"pages": 1, "new": 1, "revision": 0, "unchanged": 0, "duplicate": 0, "failed": 0},
        "t": {"pages": 1, "new": 0, "revision": 0, "unchanged": 0, "duplicate": 1, "failed": 0},
        "u": {"pages": 0, "new": 0, "revision": 0, "unchanged": 0, "duplicate": 0, "failed": 1},
    }
