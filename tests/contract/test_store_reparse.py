from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.steps.page import Arrival, ItemState, PageResult, Payload, Related
from tests.support.arrivals import NOW, SECOND, arrival, broken, commit, failure, item, moved, page, retry_of
from worker.store import Change, PageFilter, Present, Reparsed, SqlStore, archive, open_store, walk

TABLES = (
    "SELECT * FROM page ORDER BY id",
    "SELECT * FROM revision ORDER BY page_id, first_seen",
    "SELECT * FROM content ORDER BY content_hash",
    "SELECT * FROM item ORDER BY item_key",
)
HISTORY = """SELECT item_key, revision.content_hash, revision.first_seen, revision.last_seen
    FROM revision JOIN page ON page.id = page_id ORDER BY revision.first_seen, revision.content_hash"""
HEADS = "SELECT item_key, content_hash, head_first_seen, last_seen, revisions FROM page"


def presents(store: SqlStore, **where: Any) -> dict[str, Present]:
    chunks = store.present_revisions(PageFilter(**where))
    return {one.identity.item_key: one for chunk in chunks for one in chunk}


def result_of(store: SqlStore, key: str, *, content: str | None = None, version: int = 2, **fields: Any) -> Reparsed:
    """Return what a newer parser makes of a page: its fields as they are, but for these."""
    present = presents(store)[key]
    text = content or present.values["paragraphs"][0]
    shown = page(key, text, discovered=fields.pop("discovered", ()))
    assert isinstance(shown.result, PageResult)
    parsed = replace(shown.result.page, parser_version=version, **fields)
    return Reparsed.of(present, replace(shown.result, page=parsed))


def read_with(version: str | None, shown: Arrival) -> Arrival:
    assert isinstance(shown.result, PageResult)
    return moved(shown, result=replace(shown.result, profile_version=version))


def write(store: SqlStore, *parsed: Reparsed) -> list[int]:
    return store.commit_reparse(parsed, action=store.reparse_begins({}, now=NOW), now=NOW)


def record_of(store: SqlStore, key: str, revision: int | None = None) -> dict[str, Any]:
    record = store.page_record("s", key, revision=revision)
    assert record is not None
    return record


def rows(store: SqlStore, sql: str) -> list[tuple[Any, ...]]:
    with store._driver.transaction(write=False) as tx:
        return tx.run(sql)


def everything(store: SqlStore) -> list[list[tuple[Any, ...]]]:
    return [rows(store, sql) for sql in TABLES]


def test_a_second_parse_sees_the_payload_that_the_first_one_saw(store: SqlStore) -> None:
    fetched = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    envelope: dict[str, Any] = {
        "fetched_at": fetched,
        "content_type": "text/html; charset=windows-1256",
        "status": 203,
        "depth": 2,
        "parent": "p",
        "extra": {"crawler": "7", "é\n": "\0"},
        "body": b"\xff\0",
    }
    first = page("1", "a", **envelope)
    commit(store, first)
    commit(store, page("1", "a", at=1, url="http://h/later", depth=1))
    assert presents(store)["1"].payload == first.payload
    assert record_of(store, "1")["url"] == "http://h/later"


def test_each_part_of_a_revision_that_is_cut_keeps_its_envelope(store: SqlStore) -> None:
    first = page("1", "a", at=1, content_type="text/html; charset=koi8-r")
    commit(store, first, page("1", "a", at=9))
    commit(store, page("1", "b", at=5, content_type="text/plain"))
    assert presents(store)["1"].payload == first.payload
    earlier = page("1", "a", at=0, content_type="text/html; charset=utf-8")
    commit(store, earlier)
    kept = {one.observed_at: one.payload for one in store.archive()}
    assert kept[NOW] == earlier.payload
    assert kept[NOW + 9 * SECOND] == first.payload


def test_of_a_revision_from_before_its_envelope_was_kept_the_page_tells_what_it_can(store: SqlStore) -> None:
    commit(store, page("1", "a", depth=3, parent="p"))
    with store._driver.transaction() as tx:
        tx.run("UPDATE revision SET envelope = NULL")
    payload = Payload(source="s", body=b"1|a", item="1", url="http://h/1", depth=3, parent="p")
    assert presents(store)["1"].payload == payload
    assert [one.payload for one in store.archive()] == [payload]


def test_what_is_equal_only_takes_the_parsers_version(store: SqlStore) -> None:
    commit(store, page("1", "a"))
    before = record_of(store, "1")
    same = result_of(store, "1")
    assert (same.change, same.differences) == (Change.EQUAL, {})
    assert write(store, same) == []
    assert record_of(store, "1") == before | {"parser_version": 2}


def test_fields_that_the_content_hash_leaves_out_are_changed_in_place(store: SqlStore) -> None:
    commit(store, page("1", "a"))
    before = record_of(store, "1")
    new = result_of(store, "1", language="ar", authors=("A. N. Other",), canonical_url="http://h/one")
    assert new.change is Change.FIELDS
    assert new.differences == {
        "language": (None, "ar"),
        "authors": ([], ["A. N. Other"]),
        "canonical_url": (None, "http://h/one"),
    }
    write(store, new)
    assert record_of(store, "1") == before | {
        "language": "ar",
        "authors": ["A. N. Other"],
        "canonical_url": "http://h/one",
        "parser_version": 2,
    }


def test_new_content_becomes_a_revision_right_after_the_old_one_was_seen_last(store: SqlStore) -> None:
    commit(store, page("1", "a", fetched_at=None), page("1", "a", at=5, url="http://h/later"))
    payload = presents(store)["1"].payload
    write(store, result_of(store, "1", content="better"))
    head, old = record_of(store, "1"), record_of(store, "1", 1)
    assert (head["revision"], head["paragraphs"], head["url"]) == (2, ["better"], "http://h/later")
    assert head["last_seen"] == "2023-11-14T22:13:25.000001+00:00"
    assert (old["paragraphs"], old["last_seen"]) == (["a"], "2023-11-14T22:13:25+00:00")
    assert presents(store)["1"].payload == payload
    assert commit(store, page("1", "better", at=6)) == ["unchanged"]
    assert commit(store, page("1", "c", at=7)) == ["revision"]
    assert record_of(store, "1")["revision"] == 3


def test_pages_that_get_the_same_new_content_are_duplicates_of_the_first(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b", at=1), page("3", "c", at=2))
    write(store, *(result_of(store, key, content="the same") for key in "321"))
    assert [record_of(store, key)["duplicate_of"] for key in "123"] == [None, "s/1", "s/1"]
    assert record_of(store, "2", 1)["duplicate_of"] is None


def test_whose_a_new_content_was_first_is_told_by_when_its_bytes_came(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b", at=1), page("1", "a", at=9))
    write(store, result_of(store, "2", content="the same"))
    write(store, result_of(store, "1", content="the same"))
    assert [record_of(store, key)["duplicate_of"] for key in "12"] == [None, "s/1"]


def test_a_refetch_that_was_ordered_stays_ordered(store: SqlStore) -> None:
    commit(store, page("1", "a"), broken("1", at=1, retry_at=NOW))
    again = retry_of(store, now=NOW, result=failure("1", retry_at=NOW + 9 * SECOND), refetch_at=NOW + SECOND)
    store.commit_retry(again, worker="w", now=NOW)
    write(store, result_of(store, "1", content="better"))
    assert rows(store, "SELECT state, next_fetch_at FROM item") == [("scheduled", NOW + SECOND)]


def test_a_second_time_changes_nothing(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b"), page("3", "c"))
    changes: dict[str, dict[str, Any]] = {
        "1": {"content": "better"},
        "2": {"language": "ar", "discovered": [item("9")]},
        "3": {},
    }
    write(store, *(result_of(store, key, **how) for key, how in changes.items()))
    before = everything(store)
    again = [result_of(store, key, **how) for key, how in changes.items()]
    assert [one.change for one in again] == [Change.EQUAL] * 3
    write(store, *again)
    assert everything(store) == before
    assert presents(store, older_than={"vardump": 2}) == {}


def test_items_that_are_newly_named_are_followed(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b"))
    due, bounded = item("8"), item("9", ItemState.BOUNDED)
    write(store, result_of(store, "1", discovered=[due, bounded]), result_of(store, "2", content="x", discovered=[due]))
    told = rows(store, "SELECT item_key, state, depth, discovered_by, discovered_at FROM item ORDER BY item_key")
    assert told[2:] == [("8", "due", 1, "1", NOW), ("9", "bounded", 1, "1", NOW)]


def test_a_page_that_changed_since_it_was_read_is_left_alone_and_told(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b"), page("3", "c"))
    parsed = [result_of(store, key, content="better") for key in "123"]
    commit(store, page("1", "other", at=1), page("2", "b", at=1))
    assert write(store, *parsed) == [parsed[0].present.page_id]
    assert [record_of(store, key)["paragraphs"] for key in "123"] == [["other"], ["better"], ["better"]]
    assert record_of(store, "2")["last_seen"] == "2023-11-14T22:13:21.000001+00:00"


def test_pages_are_chosen_by_source_time_parser_and_version(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b", at=10), page("3", "c", at=20, source="t"))
    write(store, result_of(store, "1"))
    assert set(presents(store)) == {"1", "2", "3"}
    assert set(presents(store, source="s")) == {"1", "2"}
    assert set(presents(store, since=NOW + 10 * SECOND)) == {"2", "3"}
    assert set(presents(store, until=NOW + 10 * SECOND)) == {"1"}
    assert set(presents(store, older_than={"html": 9, "vardump": 2})) == {"2", "3"}
    assert set(presents(store, older_than={"html": 9})) == {"1", "2", "3"}
    assert presents(store, older_than={"vardump": 1}) == {}
    assert presents(store, parser="html") == {}


def test_pages_are_chosen_that_were_read_with_another_profile(store: SqlStore) -> None:
    commit(
        store,
        read_with(None, page("1", "a")),
        read_with("p1", page("2", "b")),
        read_with("q1", page("3", "c", source="t")),
    )
    older = {"vardump": 1}
    assert set(presents(store, older_than=older)) == {"2", "3"}
    assert set(presents(store, older_than=older, profiles={"s": "p1"})) == {"1", "3"}
    assert set(presents(store, older_than=older, profiles={"s": "p2", "t": "q1"})) == {"1", "2"}


def test_what_is_equal_only_takes_the_profiles_version(store: SqlStore) -> None:
    commit(store, read_with("p1", page("1", "a")))
    before = record_of(store, "1")
    same = result_of(store, "1", version=1)
    write(store, replace(same, result=replace(same.result, profile_version="p2")))
    assert record_of(store, "1") == before | {"profile_version": "p2"}
    assert presents(store, older_than={"vardump": 1}, profiles={"s": "p2"}) == {}


def test_of_a_page_without_bytes_all_but_the_payload_is_there(store: SqlStore) -> None:
    commit(store, page("1", "a"), broken("2"))
    with store._driver.transaction() as tx:
        tx.run("DELETE FROM payload")
    assert presents(store)["1"].payload is None
    assert [(one.kind, one.payload) for one in store.archive()] == [("failure", None), ("revision", None)]


def test_what_was_changed_is_on_record(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b"), page("3", "c"))
    action = store.reparse_begins({"source": "s"}, now=NOW)
    changes = [result_of(store, "1", content="x"), result_of(store, "2", language="ar"), result_of(store, "3")]
    for one in changes:
        store.commit_reparse([one], action=action, now=NOW)
    assert rows(store, "SELECT at, action, filter, count FROM operator_action") == [
        (NOW, "reparse", '{"source":"s"}', 2)
    ]


def test_the_archive_has_each_revision_and_each_open_failure_once(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("1", "b", at=1), page("1", "a", at=2), page("2", "z", source="t"))
    commit(store, broken("3", extra={"v": "2"}, status=200), broken("4", retry_at=NOW), broken("5"))
    commit(store, page("5", "mended", at=1))
    assert [(one.kind, "/".join(one.identity), one.observed_at - NOW) for one in store.archive()] == [
        ("failure", "s/3", 0),
        ("failure", "s/4", 0),
        ("revision", "s/1", 0),
        ("revision", "s/1", SECOND),
        ("revision", "s/1", 2 * SECOND),
        ("revision", "t/2", 0),
        ("revision", "s/5", SECOND),
    ]
    assert [one.identity.item_key for one in store.archive(source="t")] == ["2"]
    assert [one.identity.item_key for one in store.archive(since=NOW + SECOND)] == ["1", "1", "5"]
    (kept,) = [one.payload for one in store.archive() if one.identity.item_key == "3"]
    assert kept == broken("3", extra={"v": "2"}, status=200).payload


def test_a_failure_that_becomes_a_page_while_the_archive_is_read_is_in_it(store: SqlStore) -> None:
    commit(store, page("1", "a"), broken("2", b"the only copy", retry_at=NOW))
    read = store.archive()
    told = [next(read)]
    mended = retry_of(store, now=NOW, result=page("2", "mended").result)
    assert store.commit_retry(mended, worker="w", now=NOW) == "new"
    told += read
    assert b"the only copy" in {one.payload.body for one in told if one.payload}


def test_a_revision_that_begins_earlier_since_its_key_was_read_is_in_the_archive(store: SqlStore) -> None:
    commit(store, *(page(f"{n:03}", f"text {n}", at=9) for n in range(walk.CHUNK_ROWS + 10)))
    last = f"{walk.CHUNK_ROWS + 9}"
    read = store.archive()
    told = [next(read)]
    commit(store, page(last, f"text {int(last)}", at=5))
    told += read
    assert [one.identity.item_key for one in told] == [f"{n:03}" for n in range(walk.CHUNK_ROWS + 10)]
    assert told[-1].observed_at == NOW + 5 * SECOND


def test_what_came_around_the_bytes_counts_for_what_is_read_at_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "CHUNK_BYTES", 10_000)
    large = {"of the envelope": "x" * 6000}
    arrivals = [page(f"{n}", f"text {n}") for n in range(3)] + [broken(f"b{n}") for n in range(3)]
    commit(store, *(moved(one, payload=replace(one.payload, extra=large)) for one in arrivals))
    archived = [found for keys_in in (archive.revisions_in, archive.failures_in) for found in keys_of(store, keys_in)]
    assert [len(chunk) for chunk in walk.chunks(archived)] == [1] * 6
    assert [len(chunk) for chunk in store.present_revisions(PageFilter())] == [1] * 3


def keys_of(store: SqlStore, keys_in: Any) -> Any:
    with store._driver.transaction(write=False) as tx:
        return keys_in(tx, 0, walk.SPAN, None, None)


def test_workers_and_a_reparse_at_the_same_time_leave_every_page_whole(store: SqlStore, made_url: str) -> None:
    rng = random.Random(2026)
    keys = [f"{n:02}" for n in range(30)]
    commit(store, *(page(key, "old") for key in keys))
    arrivals = [page(rng.choice(keys), f"c{rng.randrange(3)}", at=rng.randrange(-9, 9)) for _ in range(300)]
    errors = _together(
        made_url,
        lambda own: [own.commit(arrivals[at : at + 10], worker="w", now=NOW) for at in range(0, 300, 10)],
        lambda own: _reparse_all(own, 12),
    )
    assert not errors, errors
    histories: dict[str, list[tuple[Any, ...]]] = {key: [] for key in keys}
    for key, *segment in rows(store, HISTORY):
        histories[key].append(tuple(segment))
    for key, *head in rows(store, HEADS):
        history = histories[key]
        assert head == [*history[-1], len(history)]
        ends = [(last_seen, content) for content, _, last_seen in history]
        assert ends == sorted(ends)
        assert all(one[0] != other[0] for one, other in itertools.pairwise(history))


def _reparse_all(store: SqlStore, times: int) -> None:
    for turn in range(times):
        parsed = []
        for present in presents(store).values():
            result = page(present.identity.item_key, f"v{turn}").result
            assert isinstance(result, PageResult)
            parsed.append(Reparsed.of(present, result))
        write(store, *parsed)


def _together(url: str, *work: Callable[[SqlStore], object]) -> list[BaseException]:
    errors: list[BaseException] = []

    def run(one: Callable[[SqlStore], object]) -> None:
        own = open_store(url)
        try:
            one(own)
        except BaseException as error:  # noqa: BLE001 (the test tells it)
            errors.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return errors


def test_a_related_list_is_compared_by_what_it_says(store: SqlStore) -> None:
    related = (Related(id="7", title="seven", uploaded_at=datetime(2020, 1, 1, tzinfo=UTC), tags=("VIDEO",)),)
    shown = page("1", "a")
    assert isinstance(shown.result, PageResult)
    commit(store, arrival(shown.payload, replace(shown.result, page=replace(shown.result.page, related=related))))
    assert result_of(store, "1", related=related).change is Change.EQUAL
    assert list(result_of(store, "1").differences) == ["related"]
