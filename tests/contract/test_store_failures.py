from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.errors import UsageError
from tasks.steps.page import Arrival, FailureResult, ItemState, PageResult
from tests.support import frontier
from tests.support.arrivals import NOW, SECOND, broken, commit, failure, moved, page, retry_of
from worker.store import FailureFilter, SqlStore, retry

LATER = NOW + 100 * SECOND


def states(store: SqlStore) -> list[str]:
    return [row["state"] for row in store.failures()]


def balanced(store: SqlStore) -> dict[str, int]:
    """Return the sums by outcome, after checking them against the deliveries themselves."""
    with store._driver.transaction(write=False) as tx:
        rows = tx.run("SELECT outcome, count(*) FROM delivery GROUP BY outcome")
        sums = tx.run("SELECT min(n) FROM outcome_count")
    assert sums[0][0] >= 0
    (ledger,) = store.ledger()
    found = {outcome: n for outcome, n in ledger.outcomes.items() if n}
    assert found == dict(rows)
    return found


def parsed(text: str) -> PageResult:
    result = page("1", text).result
    assert isinstance(result, PageResult)
    return result


def declared(key: str, url: str, at: int) -> Arrival:
    """Return the arrival of a page without an item that declares another URL than that which it came from."""
    arrived = page(key, "whole", at, item=None, url=url)
    assert isinstance(arrived.result, PageResult)
    return moved(arrived, result=replace(arrived.result, envelope_key=url))


@pytest.mark.parametrize("page_first", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_a_page_that_declares_another_url_resolves_what_failed_under_its_own(
    store: SqlStore, *, page_first: bool, together: bool
) -> None:
    arrivals = [broken("http://h/amp", at=1, item=None, url="http://h/amp"), declared("http://h/a", "http://h/amp", 2)]
    arrivals = arrivals[::-1] if page_first else arrivals
    for batch in [arrivals] if together else [[one] for one in arrivals]:
        commit(store, *batch)
    assert states(store) == ["resolved"]
    assert [one["key"] for one in store.find_pages("http://h/amp")] == ["s/http://h/a"]
    fetched = {row["item_key"] for row in items_of(store)}
    assert fetched == {"http://h/a", "http://h/amp"}


def items_of(store: SqlStore) -> list[dict[str, str]]:
    with store._driver.transaction(write=False) as tx:
        rows = tx.run("SELECT item_key FROM item WHERE state = 'fetched'")
    return [{"item_key": row[0]} for row in rows]


def test_a_broken_payload_is_kept_with_its_bytes_and_told(store: SqlStore) -> None:
    assert commit(store, broken("1", b"half a page", retry_at=None)) == ["failed"]
    (group,) = store.failure_groups()
    (single,) = store.failures(FailureFilter(fingerprint="fp-Truncated"))
    assert list(group) == [
        "fingerprint",
        "error_class",
        "source",
        "count",
        "state",
        "first_failed_at",
        "last_failed_at",
        "message",
        "sample",
    ]
    assert (group["count"], group["state"], group["error_class"], group["sample"]) == (
        1,
        "dead",
        "Truncated",
        single["id"],
    )
    assert (single["item"], single["url"], single["attempts"], single["size"]) == ("1", "http://h/1", 0, 11)
    assert (single["next_attempt_at"], single["last_failed_at"]) == (None, "2023-11-14T22:13:20+00:00")
    assert store.failure_payload(single["id"]) == b"half a page"
    assert store.counts().failures == {"dead": 1}
    with pytest.raises(UsageError, match="no failure 99"):
        store.failure_payload(99)


def test_an_identity_has_one_open_failure_which_holds_the_last_payload(store: SqlStore) -> None:
    commit(store, broken("1", b"first", at=1), broken("1", b"second", at=2))
    commit(store, broken("1", b"a late one", at=0))
    (row,) = store.failures()
    assert store.failure_payload(row["id"]) == b"second"
    assert balanced(store) == {"failed": 3}


def test_a_page_that_arrives_well_resolves_its_older_failures(store: SqlStore) -> None:
    commit(store, broken("1", at=1), broken("2", at=1))
    commit(store, page("1", "a", at=2))
    assert {row["item"]: row["state"] for row in store.failures()} == {"1": "resolved", "2": "dead"}


def test_a_failure_older_than_the_page_is_stored_as_resolved(store: SqlStore) -> None:
    commit(store, page("1", "a", at=5))
    commit(store, broken("1", at=1))
    assert states(store) == ["resolved"]
    commit(store, broken("1", at=9))
    assert states(store) == ["resolved", "dead"]


def test_page_and_failure_in_one_batch_end_as_one_after_the_other(store: SqlStore) -> None:
    assert commit(store, broken("1", b"x", at=1), page("1", "a", at=2), broken("1", b"y", at=3)) == [
        "failed",
        "new",
        "failed",
    ]
    assert sorted(states(store)) == ["dead", "resolved"]


def test_only_waiting_failures_whose_time_has_come_are_claimed_and_once(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW + SECOND), broken("2", b"other"), broken("3", b"more", retry_at=LATER))
    assert store.claim_failures(limit=9, lease_us=SECOND, now=NOW, parser_versions={"vardump": 1}) == []
    (lease,) = store.claim_failures(limit=9, lease_us=SECOND, now=NOW + SECOND, parser_versions={"vardump": 1})
    assert (lease.payload.item, lease.payload.body, lease.attempts, lease.error_class) == (
        "1",
        b"broken",
        1,
        "Truncated",
    )
    assert store.claim_failures(limit=9, lease_us=SECOND, now=NOW + SECOND, parser_versions={}) == []
    (again,) = store.claim_failures(limit=9, lease_us=SECOND, now=NOW + 2 * SECOND, parser_versions={})
    assert (again.attempts, again.token != lease.token) == (2, True)


def test_a_claimed_payload_is_the_one_that_was_pushed(store: SqlStore) -> None:
    one = broken("1", b"\0\xff", retry_at=NOW, content_type="text/html", status=200, depth=3, parent="p")
    one = moved(one, payload=replace(one.payload, extra={"x": "y"}))
    commit(store, one)
    (lease,) = store.claim_failures(limit=1, lease_us=1, now=NOW, parser_versions={})
    assert (lease.payload, lease.payload.body) == (one.payload, b"\0\xff")
    assert (lease.payload_hash, lease.observed_at) == (one.payload_hash, one.observed_at)


def test_a_newer_parser_makes_open_failures_due_once(store: SqlStore) -> None:
    commit(store, broken("1", at=1), broken("2", b"z", at=1, error_class="Poison"))
    commit(store, page("1", "a", at=2))
    assert store.claim_failures(limit=9, lease_us=SECOND, now=NOW, parser_versions={"vardump": 1, "html": 7}) == []
    (lease,) = store.claim_failures(limit=9, lease_us=SECOND, now=NOW, parser_versions={"vardump": 2})
    assert lease.payload.item == "2"
    assert store.claim_failures(limit=9, lease_us=SECOND, now=NOW, parser_versions={"vardump": 2}) == []
    after = NOW + 5 * SECOND  # its process was killed: the newer parser has not seen it yet
    again = retry_of(store, now=after, result=failure("2", version=2), versions={"vardump": 2})
    assert store.commit_retry(again, worker="w", now=after) == "failed"
    assert store.claim_failures(limit=9, lease_us=SECOND, now=after + 9, parser_versions={"vardump": 2}) == []


def test_a_retry_that_succeeds_stores_the_page_and_moves_the_delivery(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW), worker="first")
    outcome = store.commit_retry(retry_of(store, now=NOW, result=parsed("a")), worker="second", now=LATER)
    assert outcome == "new"
    assert states(store) == ["resolved"]
    assert balanced(store) == {"new": 1}
    assert [record["key"] for record in store.export()] == ["s/1"]
    assert store.counts().items == {"fetched": 1}


def test_each_delivery_of_the_same_bytes_gets_an_outcome(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW, at=1), now=NOW)
    commit(store, broken("1", retry_at=NOW, at=9), now=NOW + 3600 * SECOND)
    outcome = store.commit_retry(retry_of(store, now=NOW, result=parsed("a")), worker="w", now=LATER)
    assert outcome == "new"
    assert balanced(store) == {"new": 1, "unchanged": 1}
    with store._driver.transaction(write=False) as tx:
        hours = tx.run("SELECT hour, outcome, n FROM outcome_count WHERE n <> 0 ORDER BY hour, outcome")
    hour = NOW // (3600 * SECOND)
    assert hours == [(hour, "new", 1), (hour + 1, "unchanged", 1)]
    (record,) = store.export()
    assert (record["first_seen"], record["last_seen"]) == ("2023-11-14T22:13:21+00:00", "2023-11-14T22:13:29+00:00")


def test_deliveries_of_other_bytes_stay_failed(store: SqlStore) -> None:
    commit(store, broken("1", b"older", retry_at=NOW, at=1), broken("1", b"newer", retry_at=NOW, at=2))
    store.commit_retry(retry_of(store, now=NOW, result=parsed("a")), worker="w", now=LATER)
    assert balanced(store) == {"new": 1, "failed": 1}


def test_a_retry_under_another_identity_counts_for_the_page_that_it_is(store: SqlStore) -> None:
    raw = broken("raw:ff", retry_at=NOW, item=None, url=None)
    commit(store, raw, page("2", "a", at=-1))
    result = parsed("a")
    outcome = store.commit_retry(retry_of(store, now=NOW, result=result), worker="w", now=LATER)
    assert outcome == "duplicate"
    assert balanced(store) == {"new": 1, "duplicate": 1}
    assert sorted(record["key"] for record in store.export()) == ["s/1", "s/2"]


def test_a_retry_that_fails_waits_or_is_given_up(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    again = retry_of(store, now=NOW, result=failure("1", "Malformed", retry_at=LATER))
    assert store.commit_retry(again, worker="w", now=NOW) == "failed"
    (row,) = store.failures()
    assert (row["state"], row["error_class"], row["attempts"]) == ("waiting", "Malformed", 1)
    last = retry_of(store, now=LATER, result=failure("1", "Malformed"))
    assert store.commit_retry(last, worker="w", now=LATER) == "failed"
    (row,) = store.failures()
    assert (row["state"], row["attempts"], row["next_attempt_at"]) == ("dead", 2, None)
    assert balanced(store) == {"failed": 1}


def test_a_failure_that_is_being_retried_keeps_its_plan_when_the_page_fails_again(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    store.commit_retry(retry_of(store, now=NOW, result=failure("1", retry_at=LATER)), worker="w", now=NOW)
    commit(store, broken("1", b"fetched anew", at=1, retry_at=NOW))
    (row,) = store.failures()
    assert (row["attempts"], row["next_attempt_at"]) == (1, "2023-11-14T22:15:00+00:00")


def test_a_lost_lease_changes_nothing(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    retry = retry_of(store, now=NOW, result=parsed("a"))
    retry_of(store, now=NOW + 2 * SECOND)
    assert store.commit_retry(retry, worker="w", now=LATER) is None
    assert store.commit_retry(replace(retry, result=failure("1")), worker="w", now=LATER) is None
    assert list(store.export()) == []
    assert balanced(store) == {"failed": 1}


def test_newer_bytes_take_the_lease_away(store: SqlStore) -> None:
    commit(store, broken("1", b"older", retry_at=NOW))
    retry = retry_of(store, now=NOW, result=parsed("a"))
    commit(store, broken("1", b"newer", at=5, retry_at=NOW))
    assert store.commit_retry(retry, worker="w", now=NOW) is None


def test_a_retry_can_ask_for_the_page_to_be_fetched_anew(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    retry = retry_of(store, now=NOW, result=failure("1", retry_at=LATER), refetch_at=NOW + SECOND)
    store.commit_retry(retry, worker="w", now=NOW)
    assert frontier.claim(store) == []
    lease = frontier.only(store, now=NOW + SECOND)
    assert (lease.item_key, lease.url, lease.host) == ("1", "http://h/1", "h")
    commit(store, page("1", "whole", at=60))
    assert states(store) == ["resolved"]
    assert store.counts().items == {str(ItemState.FETCHED): 1}


def test_failures_are_filtered(store: SqlStore) -> None:
    commit(store, broken("1"), broken("2", b"x", error_class="Malformed", source="t"), now=NOW)
    commit(store, broken("3", b"y", retry_at=LATER), now=LATER)
    wanted = {
        FailureFilter(): "123",
        FailureFilter(source="t"): "2",
        FailureFilter(error_class="Truncated"): "13",
        FailureFilter(fingerprint="fp-Malformed"): "2",
        FailureFilter(state="waiting"): "3",
        FailureFilter(item="1"): "1",
        FailureFilter(item="http://h/3"): "3",
        FailureFilter(ids=()): "",
        FailureFilter(since=LATER): "3",
        FailureFilter(until=LATER): "12",
        FailureFilter(source="s", state="dead"): "1",
    }
    for where, items in wanted.items():
        assert "".join(row["item"] for row in store.failures(where)) == items, where
    ids = tuple(row["id"] for row in store.failures())
    assert len(store.failures(FailureFilter(ids=ids[:2]))) == 2
    assert len(store.failures(limit=1)) == 1
    assert [group["count"] for group in store.failure_groups(FailureFilter(source="s"))] == [1, 1]


def test_replay_makes_failures_due_with_all_attempts_before_them(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW), broken("2", b"x"), broken("3", b"y", error_class="Malformed"))
    store.commit_retry(retry_of(store, now=NOW, result=failure("1")), worker="w", now=NOW)
    truncated = FailureFilter(error_class="Truncated")
    assert store.replay(truncated, dry_run=True, now=LATER) == 2
    assert store.counts().failures == {"dead": 3}
    assert store.replay(truncated, limit=1, now=LATER) == 1
    assert [(row["state"], row["attempts"]) for row in store.failures(truncated)] == [("waiting", 0), ("dead", 0)]
    assert store.replay(truncated, now=LATER, note="fixed the profile") == 2
    with store._driver.transaction(write=False) as tx:
        actions = tx.run("SELECT at, action, filter, count, note FROM operator_action ORDER BY id")
    assert actions == [
        (LATER, "replay", '{"error_class":"Truncated","limit":1}', 1, ""),
        (LATER, "replay", '{"error_class":"Truncated"}', 2, "fixed the profile"),
    ]


def test_dropped_failures_come_back_only_when_they_are_named(store: SqlStore) -> None:
    commit(store, broken("1"), broken("2", b"x"))
    assert store.drop(FailureFilter(item="1"), now=NOW) == 1
    assert store.replay(FailureFilter(), now=NOW) == 1
    assert store.drop(FailureFilter(), now=NOW) == 1
    assert store.counts().failures == {"dropped": 2}
    assert store.replay(FailureFilter(state="dropped"), now=NOW) == 2
    assert store.drop(FailureFilter(ids=(1, 2)), now=NOW) == 2
    commit(store, broken("1", at=9))
    assert store.replay(FailureFilter(state="dropped"), now=NOW) == 1
    assert balanced(store) == {"failed": 3}


def test_a_resolved_failure_is_not_replayed(store: SqlStore) -> None:
    commit(store, broken("1"), page("1", "a", at=1))
    assert store.replay(FailureFilter(), now=NOW) == 0


def test_upkeep_resolves_what_a_page_stored_at_the_same_time_could_not_see(store: SqlStore) -> None:
    commit(store, broken("1"), page("1", "a", at=1))
    with store._driver.transaction() as tx:
        tx.run("UPDATE failure SET state = 'dead'")
    assert store.upkeep(now=NOW)["failures_resolved"] == 1


def test_upkeep_gives_up_failures_that_took_their_process_down_again_and_again(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    now = NOW
    for _ in range(20):
        assert store.upkeep(now=now)["failures_given_up"] == 0
        retry_of(store, now=now)
        now += 2 * SECOND
    assert store.upkeep(now=now)["failures_given_up"] == 1
    assert states(store) == ["dead"]


def test_a_newer_parser_whose_process_dies_each_time_is_tried_so_often_and_the_next_one_again(store: SqlStore) -> None:
    commit(store, broken("1"))
    now, claims = NOW, 0
    for _ in range(30):
        claims += len(store.claim_failures(limit=1, lease_us=SECOND, now=now, parser_versions={"vardump": 2}))
        now += 2 * SECOND
        store.upkeep(now=now)
    assert claims == 21
    assert store.due_counts(now=now, run="r", budgets={}, parser_versions={"vardump": 2}).failures == 0
    (lease,) = store.claim_failures(limit=1, lease_us=SECOND, now=now, parser_versions={"vardump": 3})
    assert lease.attempts == 22


def test_attempts_that_came_back_are_not_held_against_a_failure(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    now = NOW
    for number in range(1, 26):
        again = retry_of(store, now=now, result=failure("1", retry_at=now + 2 * SECOND))
        assert store.commit_retry(again, worker="w", now=now) == "failed"
        now += 2 * SECOND
        assert store.upkeep(now=now)["failures_given_up"] == 0
        assert (store.failures()[0]["attempts"], states(store)) == (number, ["waiting"])


def test_texts_of_a_failure_are_capped(store: SqlStore) -> None:
    one = broken("1")
    assert isinstance(one.result, FailureResult)
    commit(store, moved(one, result=replace(one.result, message="m" * 10_000, traceback="t" * 100_000)))
    assert len(store.failures()[0]["message"]) == 2000


@pytest.mark.parametrize("sql, parameters", [(retry._DUE, (NOW, NOW, 1)), (retry._OLDER, ("vardump", 2, NOW, 1))])
def test_one_of_many_failures_is_claimed_without_sorting_them_all(
    store: SqlStore, sql: str, parameters: tuple[object, ...]
) -> None:
    with store._driver.transaction() as tx:
        explain = "EXPLAIN" if tx.locks_rows else "EXPLAIN QUERY PLAN"
        if tx.locks_rows:  # the table is so small that it would be read whole
            tx.run("SET LOCAL enable_seqscan = off")
            tx.run("SET LOCAL enable_bitmapscan = off")
        plan = " | ".join(str(row[-1]) for row in tx.run(f"{explain} {sql}", *parameters))
    assert "INDEX failure_" in plan or "Index Scan using failure_" in plan, plan
    assert not any(word in plan for word in ("Sort", "B-TREE FOR ORDER")), plan
