"""Items as work: which hosts have any that are due, claims by host, how leases end, and what all of it may cost."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from tasks.fetch_ports import Budget, Frontier, HostDue, HostPause, ItemEnd, ItemFailed, ItemPostponed, ItemPushed
from tasks.steps.page import ItemState
from tests.support.arrivals import NOW, SECOND, broken, commit, item, page
from tests.support.frontier import RUN, claim, failed, fetch_failure, keys, names, only, postponed, pushed, row_of
from worker.store import FailureFilter, SourceChange, SqlStore, due, open_store

LATER = NOW + 100 * SECOND
DAY = 86_400 * SECOND


def hosts(store: Frontier, after: tuple[str, str] | None = None, limit: int = 100, **changes: Any) -> list[str]:
    common: dict[str, Any] = {"run": RUN, "budgets": {}, "now": NOW}
    found = store.hosts_due(after=after, limit=limit, **(common | changes))
    return [one.host for one in found]


def on_hosts(store: SqlStore, names_of: str, each: int = 1, source: str = "s", by: str = "p") -> None:
    """Have a page name items at hosts with names of one letter."""
    found = [item(f"{host}{n}", host=host) for host in names_of for n in range(each)]
    commit(store, page(by, f"text of {by} in {source}", source=source, discovered=found))


# --- which hosts ---------------------------------------------------------------------------------------------------


def test_hosts_come_in_turn_however_many_items_they_have(store: SqlStore) -> None:
    on_hosts(store, "abcde", each=3)
    assert hosts(store, limit=3) == ["a", "b", "c"]
    assert hosts(store, ("s", "c"), limit=3) == ["d", "e", "a"]
    assert hosts(store, ("s", "c")) == ["d", "e", "a", "b", "c"]
    assert hosts(store, ("s", "e"), limit=2) == ["a", "b"]
    assert hosts(store, ("r", "zzz"), limit=1) == hosts(store, ("t", "a"), limit=1) == ["a"]
    assert hosts(store, limit=0) == []


def test_a_host_is_told_for_each_source_with_a_url_of_its_most_urgent_item(store: SqlStore) -> None:
    names(store, item("far", depth=3), item("near", depth=1))
    commit(store, page("p", "t", source="t", discovered=[item("other")]))
    found = store.hosts_due(after=None, limit=9, run=RUN, budgets={}, now=NOW)
    assert found == [HostDue("s", "h", "http://h/near"), HostDue("t", "h", "http://h/other")]


def test_paused_sources_and_those_without_a_budget_are_left_out_wherever_they_stand(store: SqlStore) -> None:
    for source in "pqrs":
        on_hosts(store, "abc", source=source)
    change = SourceChange("why", "me", NOW, {})
    store.pause_source("q", change)
    budgets = {"r": Budget(0), "p": Budget(9, 0)}
    places = [("s", "a"), ("s", "b"), ("s", "c")]
    for after in (None, ("p", "b"), ("q", "b"), ("r", "c"), ("s", "c")):
        found = store.hosts_due(after=after, limit=9, run=RUN, budgets=budgets, now=NOW)
        assert sorted((one.source, one.host) for one in found) == places, after
    store.pause_source("s", change)
    assert store.hosts_due(after=("q", "a"), limit=9, run=RUN, budgets=budgets, now=NOW) == []


def test_a_host_whose_items_are_all_in_hand_or_later_is_not_told(store: SqlStore) -> None:
    on_hosts(store, "ab", each=2)
    leases = claim(store, 1)
    assert hosts(store) == ["a", "b"]
    more = claim(store)
    assert hosts(store) == []
    postponed(store, more[0], until=LATER)
    assert hosts(store) == []
    assert hosts(store, now=LATER) == ["a", "b"]  # the leases have run out too
    assert {lease.host for lease in leases} == {"a", "b"}


# --- claims --------------------------------------------------------------------------------------------------------


def shares(store: SqlStore, wanted: dict[str, int], **changes: Any) -> list[str]:
    common: dict[str, Any] = {"budgets": {}, "run": RUN, "lease_us": 10 * SECOND, "now": NOW}
    return keys(store.claim_items(shares={("s", host): n for host, n in wanted.items()}, **(common | changes)))


def test_as_many_are_claimed_of_each_host_as_it_may_be_asked_for(store: SqlStore) -> None:
    on_hosts(store, "abc", each=3)
    assert Counter(key[0] for key in shares(store, {"a": 2, "b": 9, "c": 0, "d": 5})) == {"a": 2, "b": 3}
    assert shares(store, {"a": 2, "b": 1}) == ["a2"]
    assert shares(store, {}) == []


def test_what_is_urgent_comes_first(store: SqlStore) -> None:
    names(store, item("far", depth=3), item("near", depth=1), item("middle", depth=2))
    names(store, item("also near", depth=1), by="q", at=1)
    with store._driver.transaction() as tx:
        tx.run("UPDATE item SET priority = -1 WHERE item_key = 'far'")
        tx.run("UPDATE item SET next_fetch_at = next_fetch_at - 1 WHERE item_key = 'near'")
    found = claim(store)
    assert keys(found) == ["far", "near", "also near", "middle"]
    assert [one.priority for one in found] == [-1, 0, 0, 0]


def test_a_big_host_starves_none_of_the_others(store: SqlStore) -> None:
    """Hosts are gone through in turn, a few at a time; each gets its share of every round."""
    on_hosts(store, "A", each=400, by="big")
    small = [item(f"h{host:02}-{n}", host=f"h{host:02}") for host in range(30) for n in range(4)]
    names(store, *small, by="many")
    after: tuple[str, str] | None = None
    rounds: list[set[str]] = []
    common: dict[str, Any] = {"run": RUN, "budgets": {}, "now": NOW}
    for _ in range(12):
        found = store.hosts_due(after=after, limit=8, **common)
        after = (found[-1].source, found[-1].host)
        leases = store.claim_items(shares={(one.source, one.host): 1 for one in found}, lease_us=SECOND, **common)
        assert len(leases) == 8
        rounds.append({one.host for one in leases})
    served = Counter(host for one in rounds for host in one)
    assert set(served.values()) <= {3, 4}
    assert sum(served.values()) == 96


def test_two_workers_never_claim_the_same_item(made_url: str, store: SqlStore) -> None:
    names(store, *(item(str(n), host=f"h{n % 5}") for n in range(200)))
    found: list[str] = []

    def work() -> None:
        own = open_store(made_url)
        while leases := claim(own, 4):
            found.extend(keys(leases))
        own.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert sorted(found) == sorted(str(n) for n in range(200))


def test_a_paused_source_is_not_claimed_though_it_was_due_a_moment_ago(store: SqlStore) -> None:
    on_hosts(store, "a")
    store.pause_source("s", SourceChange("why", "me", NOW, {}))
    assert shares(store, {"a": 1}) == []


# --- budgets -------------------------------------------------------------------------------------------------------


def test_claims_stay_within_the_budget_of_the_run(store: SqlStore) -> None:
    names(store, *(item(str(n)) for n in range(9)))
    first = claim(store, budget=Budget(3))
    assert len(first) == 3
    assert claim(store, budget=Budget(3)) == []
    assert store.due_counts(now=NOW, run=RUN, budgets={"s": Budget(3)}).due_items == 0
    due_now = store.due_counts(now=NOW, run=RUN, budgets={"s": Budget(4)})
    assert (due_now.due_items, due_now.over_budget) == (1, {"s": 5})
    assert postponed(store, first[0], until=NOW) is ItemState.DUE
    assert len(claim(store, budget=Budget(3))) == 1
    assert len(claim(store, budget=Budget(3), run="r2")) == 3


def test_claims_stay_within_the_budget_of_the_day(store: SqlStore) -> None:
    names(store, *(item(str(n)) for n in range(9)))
    late = NOW - NOW % DAY + DAY - SECOND
    first = claim(store, budget=Budget(99, 3), now=late)
    assert len(first) == 3
    assert claim(store, budget=Budget(99, 3), now=late, run="another run") == []
    assert len(claim(store, 1, budget=Budget(99, 3), now=late + SECOND)) == 1
    postponed(store, first[0], until=LATER, now=late + 2 * SECOND)  # counted on the day on which it was claimed
    assert len(claim(store, budget=Budget(99, 3), now=late)) == 1
    assert len(claim(store, budget=Budget(99, 3), now=late + SECOND)) == 2


def test_a_budget_that_is_not_enough_for_all_hosts_is_shared_among_them(store: SqlStore) -> None:
    on_hosts(store, "abc", each=5)
    on_hosts(store, "abc", each=5, source="t")
    wanted = {(source, host): 5 for source in "st" for host in "abc"}
    leases = store.claim_items(shares=wanted, budgets={"s": Budget(7)}, run=RUN, lease_us=SECOND, now=NOW)
    assert Counter(one.host for one in leases if one.source == "s") == {"a": 3, "b": 2, "c": 2}
    assert Counter(one.host for one in leases if one.source == "t") == {"a": 5, "b": 5, "c": 5}


def test_what_was_wanted_and_not_there_is_not_counted(store: SqlStore) -> None:
    on_hosts(store, "a", each=2)
    assert len(shares(store, {"a": 5}, budgets={"s": Budget(5)})) == 2
    on_hosts(store, "b", each=9, by="q")
    assert len(shares(store, {"b": 9}, budgets={"s": Budget(5)})) == 3


def test_failures_that_do_not_count_are_given_back_to_the_budget_and_others_are_not(store: SqlStore) -> None:
    on_hosts(store, "a", each=4)
    one, two = claim(store, 2, budget=Budget(2))
    failed(store, one, fetch_failure("HostDown", retry_at=LATER, counts=False))
    failed(store, two, fetch_failure(retry_at=LATER))
    assert len(claim(store, budget=Budget(2))) == 1


def test_workers_that_claim_at_the_same_time_keep_to_the_budget_together(made_url: str, store: SqlStore) -> None:
    names(store, *(item(str(n), host=f"h{n % 5}") for n in range(60)))
    found: list[str] = []

    def work() -> None:
        own = open_store(made_url)
        for _ in range(12):
            found.extend(keys(claim(own, 1, budget=Budget(31, 40))))
        own.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert len(found) == 31


# --- how leases end ------------------------------------------------------------------------------------------------


def test_leases_of_all_kinds_end_together_and_are_told_in_their_order(store: SqlStore) -> None:
    names(store, *(item(str(n)) for n in range(5)))
    zero, one, two, three, four = claim(store)
    ends: list[ItemEnd] = [
        ItemFailed(zero, fetch_failure("Disallowed", status=None), recrawls=True),
        ItemPushed(four, "1-4"),
        ItemPostponed(one, NOW),
        ItemFailed(three, fetch_failure(retry_at=LATER), recrawls=True),
        ItemPostponed(two, LATER),
    ]
    states = store.settle_items(ends, worker="w", now=NOW)
    assert states == ["failed", "pushed", "due", "scheduled", "scheduled"]
    assert store.counts().items == {"due": 1, "failed": 1, "fetched": 1, "pushed": 1, "scheduled": 2}
    assert store.settle_items(ends, worker="w", now=NOW) == [None] * 5
    assert store.settle_items([], worker="w", now=NOW) == []
    assert [row["attempts"] for row in store.failures()] == [1, 1]


def test_a_lease_that_ran_out_is_claimed_again_and_the_old_one_says_nothing_more(store: SqlStore) -> None:
    names(store, item("1"))
    lost = only(store)
    assert claim(store, now=NOW + 9 * SECOND) == []
    taken = only(store, now=NOW + 10 * SECOND)
    assert taken.token != lost.token
    ends: list[ItemEnd] = [
        ItemPushed(lost, "1-1"),
        ItemPostponed(lost, NOW),
        ItemFailed(lost, fetch_failure(), recrawls=True),
        ItemPushed(taken, "1-2"),
    ]
    assert store.settle_items(ends, worker="w", now=NOW) == [None, None, None, ItemState.PUSHED]
    assert store.failures() == []


def test_a_pushed_item_is_fetched_when_its_page_arrives_even_before_it_is_noted(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    one, two = claim(store)
    assert pushed(store, one) is ItemState.PUSHED
    assert (store.counts().items["pushed"], row_of(store, "1")["last_status"]) == (1, 200)
    commit(store, page("1", "a", at=1), page("2", "b", at=1))
    assert pushed(store, two, "1-2") is None
    assert store.counts().items == {"fetched": 3}


def test_a_failed_fetch_waits_or_is_given_up(store: SqlStore) -> None:
    names(store, item("1"))
    assert failed(store, only(store), fetch_failure(retry_at=LATER)) is ItemState.SCHEDULED
    (row,) = store.failures()
    assert (row["kind"], row["state"], row["attempts"], row["item"]) == ("fetch", "waiting", 1, "1")
    assert claim(store) == []
    lease = only(store, now=LATER)
    assert lease.attempts == 1
    down = fetch_failure("HostDown", retry_at=LATER, counts=False)
    assert failed(store, lease, down, now=LATER) is ItemState.DUE
    lease = only(store, now=LATER)
    assert lease.attempts == 1
    assert failed(store, lease, fetch_failure(), now=LATER) is ItemState.FAILED
    (row,) = store.failures()
    assert (row["state"], row["attempts"], row["next_attempt_at"]) == ("dead", 2, None)
    assert row_of(store, "1")["last_status"] == 503
    assert store.claim_failures(limit=9, lease_us=1, now=2 * LATER, parser_versions={"none": 9}) == []


def test_the_arrival_of_a_page_resolves_the_failures_of_its_fetch(store: SqlStore) -> None:
    names(store, item("1"))
    failed(store, only(store), fetch_failure(retry_at=LATER))
    commit(store, page("1", "a", at=200))
    assert store.counts().failures == {"resolved": 1}


def test_replay_of_a_failed_fetch_makes_the_item_due(store: SqlStore) -> None:
    names(store, item("1"))
    failed(store, only(store), fetch_failure())
    assert store.replay(FailureFilter(error_class="HttpError"), now=LATER) == 1
    lease = only(store, now=LATER)
    assert (lease.item_key, lease.attempts) == ("1", 0)


# --- what is due again ---------------------------------------------------------------------------------------------


def test_upkeep_frees_leases_and_refetches_what_was_in_a_lost_stream(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    one, _ = claim(store)
    pushed(store, one)
    first = store.note_accepted(epoch="e1", accepted=1, first_waiting=None, now=NOW)
    assert first.items_due_again == 0
    assert store.upkeep(now=LATER)["items_freed"] == 1
    assert store.note_accepted(epoch="e2", accepted=0, first_waiting=None, now=LATER).items_due_again == 1
    assert store.counts().items == {"due": 2, "fetched": 1}
    again = claim(store, now=LATER)[0]
    pushed(store, again, "2-1", now=LATER)
    much_later = LATER + 20 * 60 * SECOND
    assert store.note_accepted(epoch="e2", accepted=7, first_waiting="1-1", now=LATER).items_due_again == 0
    overtaken = store.note_accepted(epoch="e2", accepted=6, first_waiting="1-1", now=LATER)
    assert (overtaken.accepted, overtaken.items_due_again) == (7, 0)
    assert store.note_accepted(epoch="e2", accepted=1, first_waiting="1-1", now=much_later).items_due_again == 0
    assert store.note_accepted(epoch="e2", accepted=1, first_waiting=None, now=much_later).items_due_again == 1
    assert store.note_accepted(epoch="e2", accepted=0, first_waiting=None, now=LATER).items_due_again == 0


def test_what_waits_is_woken_when_its_time_has_come_a_portion_at_a_time(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "PORTION", 2)
    names(store, *(item(str(n)) for n in range(6)))
    for n, lease in enumerate(claim(store)):
        postponed(store, lease, until=NOW + (n + 1) * SECOND)
    assert store.upkeep(now=NOW)["items_woken"] == 0
    assert keys(claim(store, now=NOW + SECOND)) == ["0"]
    assert store.upkeep(now=NOW + 4 * SECOND)["items_woken"] == 2
    assert store.counts().items["due"] == 2
    assert sorted(keys(claim(store, now=NOW + 4 * SECOND))) == ["1", "2", "3"]
    assert store.upkeep(now=LATER)["items_woken"] == 2
    assert store.upkeep(now=LATER)["items_freed"] == 2
    assert store.upkeep(now=LATER)["items_freed"] == 0


def test_an_item_that_an_older_penstock_made_due_for_later_waits_for_its_time(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    with store._driver.transaction() as tx:
        tx.run("UPDATE item SET next_fetch_at = ? WHERE item_key = '1'", LATER)
    assert keys(claim(store)) == ["2"]
    assert keys(claim(store, now=LATER)) == ["1", "2"]


def test_what_there_is_to_do_is_counted(store: SqlStore) -> None:
    names(store, *(item(str(n)) for n in range(5)))
    leases = claim(store, 3)
    pushed(store, leases[0])
    postponed(store, leases[1], until=LATER)
    commit(store, broken("x", retry_at=NOW), broken("y", b"y", retry_at=LATER), broken("z", b"z"))
    store.claim_failures(limit=1, lease_us=SECOND, now=NOW, parser_versions={})
    found = store.due_counts(now=NOW, run=RUN, budgets={}, parser_versions={"vardump": 2})
    assert (found.due_items, found.leased_items, found.pushed_items, found.items) == (2, 1, 1, 3)
    assert (found.leased_failures, found.waiting_failures, found.due_failures) == (1, 1, 2)
    assert store.due_counts(now=NOW, run=RUN, budgets={}).due_failures == 0
    assert store.due_counts(now=LATER, run=RUN, budgets={}).failures == 2
    assert store.due_counts(now=LATER, run=RUN, budgets={}).due_items == 3
    store.pause_hosts([HostPause("h", LATER + 1, "robots")], now=NOW)
    assert store.due_counts(now=LATER, run=RUN, budgets={}).due_items == 0
    assert store.due_counts(now=LATER + 1, run=RUN, budgets={}).due_items == 3
