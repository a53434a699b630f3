"""What an older release wrote is read as if this one had written it."""

from __future__ import annotations

import time
from typing import Any

import orjson
import zstandard

import worker.store
from tests.support.arrivals import NOW, SECOND, commit, item, page
from tests.support.frontier import claim, keys
from worker.store import PageFilter, Reparsed, SqlStore, open_store, schema

FIELDS = {
    "paragraphs": ["first", "“second”"],
    "wire_service": "Wire",
    "desk_code": "A/B 1-2",
    "language": None,
    "authors": ["A. Writer"],
    "canonical_url": "http://h/1",
}
RELATED: list[dict[str, Any]] = [
    {
        "id": "2",
        "title": "PHOTOS: Two",
        "tags": ["PHOTOS"],
        "media_kind": "image",
        "media_path": "/2.jpg",
        "uploaded_at": "2022-03-27T13:01:22.337468+00:00",
    },
    {"id": "3", "title": None, "tags": [], "media_kind": None, "media_path": None, "uploaded_at": None},
]
HASH = "01" + "ab" * 32


def store_of_r0002(url: str, revision: str = "r0002") -> SqlStore:
    """Make a store with one page as it was before r0003, and open it."""
    driver = worker.store._driver(url)
    with driver.connection() as connection:
        schema._upgrade(driver, connection, revision)
    with driver.transaction() as tx:
        tx.run(
            """INSERT INTO page (id, source, item_key, item, url, first_seen, last_seen, content_hash, head_first_seen,
              revisions, depth) VALUES (1, 's', '1', '1', 'http://h/1', ?, ?, ?, ?, 1, 0)""",
            *(NOW, NOW, HASH, NOW),
        )
        tx.run("INSERT INTO content (content_hash, observed_at, source, item_key) VALUES (?, ?, 's', '1')", HASH, NOW)
        tx.run(
            """INSERT INTO revision (page_id, first_seen, content_hash, last_seen, payload_hash, parser, parser_version,
              title, fields, related) VALUES (1, ?, ?, ?, 'ph', 'vardump', 1, 'Title', ?, ?)""",
            *(NOW, HASH, NOW, orjson.dumps(FIELDS).decode(), orjson.dumps(RELATED).decode()),
        )
    driver.close()
    return open_store(url)


def record(store: SqlStore) -> dict[str, Any]:
    found = store.page_record("s", "1")
    assert found is not None
    return found


def test_a_record_is_what_it_was(store_url: str) -> None:
    store = store_of_r0002(store_url)
    found = record(store)
    assert {name: found[name] for name in FIELDS} == FIELDS
    assert (found["modified_at"], found["tags"], found["outlinks"], found["tier"]) == (None, [], [], None)
    assert found["related"] == RELATED
    assert list(store.export()) == store.find_pages(HASH) == [found]
    assert store.find_pages(HASH[:14] + "0" * 52) == []
    (told,) = store.trace("s/1")
    assert told["children"]["count"] == 0
    store.close()


def test_related_items_by_value_are_read_as_they_were_written(store_url: str) -> None:
    """Before r0004 the packed column had each of them as a list of all of its values."""
    store = store_of_r0002(store_url, "r0003")
    packed = zstandard.compress(orjson.dumps({**FIELDS, "related": [list(one.values()) for one in RELATED]}))
    with store._driver.transaction() as tx:
        tx.run("UPDATE revision SET fields = '', related = '', packed = ?", packed)
    assert record(store)["related"] == RELATED
    (told,) = store.trace("s/1")
    assert told["children"]["count"] == 0
    store.close()


def test_its_items_are_the_children_of_a_trace(store_url: str) -> None:
    store = store_of_r0002(store_url)
    commit(store, page("9", "nine", discovered=[item("2"), item("3")]))
    (told,) = store.trace("s/1")
    assert [one["identity"] for one in told["children"]["first"]] == ["s/2", "s/3"]
    store.close()


def test_it_is_seen_again_revised_and_cut_in_two(store_url: str) -> None:
    store = store_of_r0002(store_url)
    old = record(store)
    seen = page("1", "x", at=10)
    same = page("1", HASH[2:], at=10)
    assert seen.result != same.result
    assert commit(store, same) == ["unchanged"]
    assert commit(store, page("1", "between", at=5)) == ["revision"]
    records = [store.page_record("s", "1", revision=number) for number in (1, 2, 3)]
    assert [one and one["paragraphs"] for one in records] == [FIELDS["paragraphs"], ["between"], FIELDS["paragraphs"]]
    assert [one and one["related"] for one in records] == [old["related"], [], old["related"]]
    store.close()


def test_a_second_parse_brings_it_into_the_present_form(store_url: str) -> None:
    store = store_of_r0002(store_url)
    commit(store, page("1", HASH[2:], at=-1))  # with its bytes, which the first revision now has
    with store._driver.transaction() as tx:
        tx.run("UPDATE revision SET fields = ?, related = '[]', packed = NULL", orjson.dumps(FIELDS).decode())
    (present,) = (one for chunk in store.present_revisions(PageFilter()) for one in chunk)
    assert present.values["paragraphs"] == FIELDS["paragraphs"]
    result = page("1", HASH[2:]).result
    parsed = Reparsed.of(present, result)  # type: ignore[arg-type]
    assert parsed.differences["paragraphs"] == (FIELDS["paragraphs"], [HASH[2:]])
    store.commit_reparse([parsed], action=store.reparse_begins({}, now=NOW), now=NOW + SECOND)
    assert record(store)["paragraphs"] == [HASH[2:]]
    with store._driver.transaction(write=False) as tx:
        assert tx.run("SELECT fields, related, packed IS NULL FROM revision") in ([("", "", 0)], [("", "", False)])
    store.close()


def test_items_of_before_are_due_or_wait_for_their_time(store_url: str) -> None:
    driver = worker.store._driver(store_url)
    with driver.connection() as connection:
        schema._upgrade(driver, connection, "r0006")
    later = time.time_ns() // 1000 + 3600 * SECOND
    with driver.transaction() as tx:
        for key, state, at in (("1", "due", NOW), ("2", "due", later), ("3", "fetched", None), ("4", "bounded", None)):
            tx.run(
                """INSERT INTO item (source, item_key, host, state, depth, discovered_at, next_fetch_at, created_at)
                VALUES ('s', ?, 'h', ?, 1, ?, ?, ?)""",
                *(key, state, NOW, at, NOW),
            )
    driver.close()
    store = open_store(store_url)
    assert store.counts().items == {"bounded": 1, "due": 1, "fetched": 1, "scheduled": 1}
    assert store.counts().bounded == {"unknown": 1}
    assert keys(claim(store)) == ["1"]
    assert keys(claim(store, now=later)) == ["1", "2"]
    store.close()
