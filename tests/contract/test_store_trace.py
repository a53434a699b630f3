from __future__ import annotations

from typing import Any

from tasks.ports import FetchFailure
from tests.support import frontier
from tests.support.arrivals import NOW, SECOND, broken, commit, failure, item, moved, page, retry_of
from worker.store import FailureFilter, SourceChange, SqlStore

ENTRY = f"{NOW // 1000}-3"
NO_ANSWER = FetchFailure(
    error_class="FetchTimeout", message="no answer", fingerprint="f", status=None, retry_at=NOW + 2 * SECOND
)


def at(seconds: int) -> int:
    return NOW + seconds * SECOND


def only(store: SqlStore, key: str) -> dict[str, Any]:
    (found,) = store.trace(key)
    return found


def steps(found: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(step.get(name) for name in ("step", *names)) for step in found["steps"]]


def crawled(store: SqlStore) -> None:
    """Page 1 names item 2, whose fetch fails once and whose page comes in broken, twice tried again."""
    commit(store, page("1", "start", at=-9, discovered=[item("2")]), now=at(0))
    frontier.failed(store, frontier.only(store, now=at(1)), NO_ANSWER, worker="fetcher", now=at(1))
    frontier.pushed(store, frontier.only(store, now=at(2)), ENTRY, now=at(2))
    half = moved(broken("2", b"half", at=3, retry_at=at(4), parent="1", depth=1), entry_id=ENTRY, serial=7)
    commit(store, half, worker="ingester", now=at(3))
    again = retry_of(store, now=at(4), result=failure("2", "Malformed", retry_at=at(99)), entry=ENTRY)
    store.commit_retry(again, worker="retrier", now=at(4))
    store.replay(FailureFilter(item="2", error_class="Malformed"), now=at(5), note="look again", who="ada")


def healed(store: SqlStore) -> None:
    fine = retry_of(store, now=at(6), result=page("2", "whole").result, entry=ENTRY)
    assert store.commit_retry(fine, worker="retrier", now=at(6)) == "new"


def test_the_whole_way_of_a_followed_page_is_told_in_order(store: SqlStore) -> None:
    crawled(store)
    healed(store)
    found = only(store, "s/2")
    assert sorted(steps(found, "by")[:2]) == [("named", "s/1"), ("pushed", None)]
    assert steps(found, "outcome", "worker", "error_class", "failure")[2:] == [
        ("fetch_failed", "scheduled", "fetcher", "FetchTimeout", 1),
        ("fetched", None, None, None, None),
        ("delivered", "failed", "ingester", "Truncated", 2),
        ("retried", "waiting", "retrier", "Malformed", 2),
        ("replayed", "waiting", None, None, 2),
        ("retried", "new", "retrier", None, 2),
        ("revision", None, None, None, None),
        ("resolved", None, None, None, 1),
        ("resolved", None, None, None, 2),
    ]
    times = [step["at"] for step in found["steps"]]
    assert times == sorted(times)
    assert times[-1] == "2023-11-14T22:13:26+00:00"
    assert {step.get("entry") for step in found["steps"]} == {None, ENTRY}
    assert [step["outcome_now"] for step in found["steps"] if step["step"] == "delivered"] == ["new"]
    assert [(step["who"], step["note"]) for step in found["steps"] if step["step"] == "replayed"] == [
        ("ada", "look again")
    ]
    assert (found["parent"], found["now"]["page"]["revisions"], found["now"]["item"]["state"]) == ("s/1", 1, "fetched")
    assert [(one["kind"], one["state"]) for one in found["now"]["failures"]] == [
        ("fetch", "resolved"),
        ("payload", "resolved"),
    ]


def test_what_is_not_over_says_where_it_is(store: SqlStore) -> None:
    crawled(store)
    store.pause_source("s", SourceChange("a test", "ada", NOW, {}))
    now = only(store, "s/2")["now"]
    assert (now["page"], now["source"]["state"], now["source"]["reason"]) == (None, "paused", "a test")
    (payload,) = (one for one in now["failures"] if one["kind"] == "payload")
    assert (payload["state"], payload["attempts"], payload["next_attempt_at"]) == (
        "waiting",
        0,
        "2023-11-14T22:13:25+00:00",
    )


def test_the_parent_tells_its_children_by_state(store: SqlStore) -> None:
    crawled(store)
    commit(store, page("9", "another", at=-20, discovered=[item("8")]))
    commit(store, page("1", "start anew", at=9, discovered=[item("2"), item("8"), *map(item, map(str, range(20, 45)))]))
    children = only(store, "s/1")["children"]
    assert (children["count"], children["states"]) == (27, {"due": 26, "failed": 1})
    assert len(children["first"]) == 20
    first = {one["identity"]: one["named_first_here"] for one in children["first"]}
    assert (first["s/2"], first["s/8"]) == (True, False)


def test_a_page_is_found_by_each_of_its_names(store: SqlStore) -> None:
    crawled(store)
    healed(store)
    commit(store, page("http://h/x", "x", item=None, url="http://h/x"), broken("raw:ff", item=None, url=None))
    for key in ("s/2", "2", ENTRY, "01whole", "http://h/2"):
        assert [one["identity"] for one in store.trace(key)] == ["s/2"], key
    assert [one["identity"] for one in store.trace("http://h/x")] == ["s/http://h/x"]
    assert [one["identity"] for one in store.trace("s/raw:ff")] == ["s/raw:ff"]
    commit(store, page("sha:aa", "bare", source="bare", item=None, url=None))  # neither an item nor a failure
    assert [one["identity"] for one in store.trace("bare/sha:aa")] == ["bare/sha:aa"]
    assert store.known_sources() == ["bare", "s"]
    for key in ("s/3", "t/2", "99", "1-1", "9" * 30, f"{'9' * 19}-0", "http://h/3", "", "\0"):
        assert store.trace(key) == [], key


def test_a_content_that_two_pages_have_names_both(store: SqlStore) -> None:
    commit(store, page("1", "same"), page("2", "same", at=1))
    assert [one["identity"] for one in store.trace("01same")] == ["s/1", "s/2"]


def test_a_drop_is_told_with_who_and_why(store: SqlStore) -> None:
    commit(store, broken("1"), broken("2", b"other"))
    assert store.drop(FailureFilter(item="1"), now=at(1), note="not ours", who="ada") == 1
    (step,) = (step for step in only(store, "s/1")["steps"] if step["step"] == "dropped")
    assert (step["who"], step["note"], step["failure"]) == ("ada", "not ours", 1)
    assert "dropped" not in {step["step"] for step in only(store, "s/2")["steps"]}


def test_a_process_that_never_came_back_is_an_attempt_too(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW))
    for second in range(20):
        assert store.claim_failures(limit=1, lease_us=1, now=at(second), parser_versions={})
    store.upkeep(now=at(30))
    assert steps(only(store, "s/1"), "worker", "number", "outcome", "error_class")[-1] == (
        "retried",
        "upkeep",
        20,
        "dead",
        "Poison",
    )


def test_failures_tell_the_entry_that_brought_their_bytes(store: SqlStore) -> None:
    first, second = broken("1", retry_at=NOW), broken("1", at=1, retry_at=NOW)
    commit(store, first)
    commit(store, second, now=at(1))
    (lease,) = store.claim_failures(limit=1, lease_us=SECOND, now=at(2), parser_versions={})
    assert lease.entry == second.entry_id


def test_a_trace_reads_by_index_only(store: SqlStore) -> None:
    """What a plan calls a scan of a whole table would take minutes on ten million deliveries."""
    crawled(store)
    seen: list[str] = []
    with store._driver.transaction(write=False) as tx:
        explain = "EXPLAIN" if tx.locks_rows else "EXPLAIN QUERY PLAN"
        if tx.locks_rows:
            tx.run("SET LOCAL enable_seqscan = off")  # these tables are so small that it would scan them all

        class Watched:
            locks_rows = tx.locks_rows

            def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
                seen.extend(str(row[-1]) for row in tx.run(f"{explain} {sql}", *parameters))
                return tx.run(sql, *parameters)

            def read(self, what: Any, rows: Any) -> Any:
                return tx.read(what, rows)

        from worker.store import identities, trace  # noqa: PLC0415 (what is explained here only)

        for key in ("s/2", ENTRY, "2", "01whole", "http://h/2"):
            for one in identities.find(Watched(), key):  # type: ignore[arg-type]
                trace.trace(Watched(), one)  # type: ignore[arg-type]
    assert len(seen) > 20
    sqlite = {plan for plan in seen if plan.startswith("SCAN") and " USING " not in plan}
    assert sqlite <= {"SCAN known", "SCAN source_state"}
    assert not [plan for plan in seen if "Seq Scan on" in plan and "source_state" not in plan]
