from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import zstandard

from tasks.ports import Settled
from tasks.steps.page import Outcome, PageResult, ParsedPage, Payload, Related
from tests.support.arrivals import NOW, SECOND, arrival, broken, commit, item, moved, page, settle
from worker.store import SqlStore


def record_of(store: SqlStore, item: str, revision: int | None = None) -> dict[str, object]:
    record = store.page_record("s", item, revision=revision)
    assert record is not None
    return record


def test_a_page_is_new_then_unchanged_then_a_revision(store: SqlStore) -> None:
    assert commit(store, page("1", "a")) == ["new"]
    assert commit(store, page("1", "a", at=1)) == ["unchanged"]
    assert commit(store, page("1", "b", at=2)) == ["revision"]
    assert [record_of(store, "1", n)["paragraphs"] for n in (1, 2)] == [["a"], ["b"]]
    assert store.page_record("s", "1", revision=3) is None
    head = record_of(store, "1")
    assert (head["revision"], head["paragraphs"]) == (2, ["b"])
    assert (head["first_seen"], head["last_seen"]) == ("2023-11-14T22:13:20+00:00", "2023-11-14T22:13:22+00:00")
    assert record_of(store, "1", 1)["last_seen"] == "2023-11-14T22:13:21+00:00"


def test_the_same_content_under_another_key_is_a_duplicate_of_the_first(store: SqlStore) -> None:
    assert commit(store, page("1", "a"), page("2", "a", at=1), page("3", "b", at=1)) == ["new", "duplicate", "new"]
    assert commit(store, page("4", "a", at=2, source="other")) == ["duplicate"]
    assert record_of(store, "2")["duplicate_of"] == "s/1"
    assert record_of(store, "1")["duplicate_of"] is None
    commit(store, page("0", "a", at=-1))
    assert record_of(store, "1")["duplicate_of"] == "s/0"
    assert {record["key"] for record in store.find_pages("01a")} == {"s/0", "s/1", "s/2", "other/4"}


def test_a_batch_decides_as_its_pages_one_by_one_would(store: SqlStore) -> None:
    batch = [page("1", "a"), page("1", "a", at=1), page("1", "b", at=2), page("2", "b", at=3), page("1", "a", at=4)]
    assert commit(store, *batch) == ["new", "unchanged", "revision", "duplicate", "revision"]
    assert record_of(store, "1")["revision"] == 3


def test_an_entry_that_comes_again_is_not_applied_again(store: SqlStore) -> None:
    first, second = page("1", "a"), page("1", "b", at=1)
    assert settle(store, [first, first]) == [
        Settled(first.entry_id, Outcome.NEW, fresh=True),
        Settled(first.entry_id, Outcome.NEW, fresh=False),
    ]
    assert settle(store, [first, second]) == [
        Settled(first.entry_id, Outcome.NEW, fresh=False),
        Settled(second.entry_id, Outcome.REVISION, fresh=True),
    ]
    assert settle(store, [second, first], worker="another") == [
        Settled(second.entry_id, Outcome.REVISION, fresh=False),
        Settled(first.entry_id, Outcome.NEW, fresh=False),
    ]
    assert store.counts().outcomes == {"new": 1, "revision": 1, "unchanged": 0, "duplicate": 0, "failed": 0}
    assert settle(store, [moved(first, epoch="e2", observed_at=NOW + 9 * SECOND)])[0].outcome is Outcome.REVISION


def test_an_empty_batch_is_nothing(store: SqlStore) -> None:
    assert settle(store, []) == []


def test_late_observations_cut_a_revision_at_the_times_that_deliveries_remember(store: SqlStore) -> None:
    for at in (1, 5, 10):
        commit(store, page("1", "a", at=at))
    assert commit(store, page("1", "b", at=3)) == ["revision"]
    seen = [(one["paragraphs"], str(one["first_seen"])[17:19], str(one["last_seen"])[17:19]) for one in all_of(store)]
    assert seen == [(["a"], "21", "21"), (["b"], "23", "23"), (["a"], "25", "30")]


@pytest.mark.parametrize("content", ["0", "z"])
def test_observations_at_the_very_time_of_the_cut_stand_on_the_side_that_their_content_says(
    store: SqlStore, content: str
) -> None:
    for at in (1, 2, 3, 4, 5):
        commit(store, page("1", "a", at=at))
    commit(store, page("1", content, at=3))
    seen = [(one["paragraphs"], str(one["first_seen"])[17:19], str(one["last_seen"])[17:19]) for one in all_of(store)]
    left, right = ("22", "23") if content == "0" else ("23", "24")
    assert seen == [(["a"], "21", left), ([content], "23", "23"), (["a"], right, "25")]


def all_of(store: SqlStore) -> list[dict[str, object]]:
    count = record_of(store, "1")["revision"]
    assert isinstance(count, int)
    return [record_of(store, "1", n) for n in range(1, count + 1)]


def test_a_record_has_all_fields_in_the_order_of_the_format(store: SqlStore) -> None:
    parsed = ParsedPage(
        parser="vardump",
        parser_version=3,
        title="“Quoted”",
        published_at=datetime(2016, 2, 24, 14, 3, 32, tzinfo=timezone(timedelta(hours=3))),
        published_raw="Wed Feb 24, 2016 14:03:32",
        paragraphs=("one", "two"),
        wire_service="Courier",
        desk_code="E/S 1-1",
        language="en",
        authors=("A. Writer",),
        repaired=3,
        related=(
            Related(id="9", title="VIDEO: nine", tags=("VIDEO",), media_kind="video", media_path="/9.mp4"),
            Related(id="8", uploaded_at=datetime(2016, 1, 1, tzinfo=UTC)),
        ),
        canonical_url="http://h/one",
        modified_at=datetime(2016, 2, 25, tzinfo=timezone(timedelta(hours=3))),
        section="Sea",
        tags=("fog", "pilots"),
        image="http://h/1.jpg",
        outlinks=("http://h/2",),
        tier="fast",
    )
    payload = Payload(source="s", body=b"x", item="1", url="http://h/1", depth=2, parent="0")
    commit(
        store, arrival(payload, PageResult(page=parsed, item_key="1", content_hash="01ff", profile_version="3f9c2a1b"))
    )
    record = record_of(store, "1")
    assert list(record.items()) == [
        ("source", "s"),
        ("item", "1"),
        ("url", "http://h/1"),
        ("key", "s/1"),
        ("title", "“Quoted”"),
        ("published_at", "2016-02-24T14:03:32+03:00"),
        ("published_raw", "Wed Feb 24, 2016 14:03:32"),
        ("paragraphs", ["one", "two"]),
        ("wire_service", "Courier"),
        ("desk_code", "E/S 1-1"),
        ("language", "en"),
        ("authors", ["A. Writer"]),
        (
            "related",
            [
                {
                    "id": "9",
                    "title": "VIDEO: nine",
                    "tags": ["VIDEO"],
                    "media_kind": "video",
                    "media_path": "/9.mp4",
                    "uploaded_at": None,
                },
                {
                    "id": "8",
                    "title": None,
                    "tags": [],
                    "media_kind": None,
                    "media_path": None,
                    "uploaded_at": "2016-01-01T00:00:00+00:00",
                },
            ],
        ),
        ("revision", 1),
        ("content_hash", "01ff"),
        ("duplicate_of", None),
        ("near_duplicates", []),
        ("parser", "vardump"),
        ("parser_version", 3),
        ("first_seen", "2023-11-14T22:13:20+00:00"),
        ("last_seen", "2023-11-14T22:13:20+00:00"),
        ("depth", 2),
        ("parent", "0"),
        ("canonical_url", "http://h/one"),
        ("modified_at", "2016-02-25T00:00:00+03:00"),
        ("section", "Sea"),
        ("tags", ["fog", "pilots"]),
        ("image", "http://h/1.jpg"),
        ("outlinks", ["http://h/2"]),
        ("tier", "fast"),
        ("repaired", 3),
        ("profile_version", "3f9c2a1b"),
        ("gone_at", None),
    ]
    assert list(store.export()) == [record]


@pytest.mark.parametrize("key", ["s/1", "http://h/1", "01a"])
def test_a_page_is_found_by_key_url_and_content(store: SqlStore, key: str) -> None:
    commit(store, page("1", "a"), page("2", "b"))
    assert [one["key"] for one in store.find_pages(key)] == ["s/1"]
    assert store.find_pages(key, revision=2) == []


def test_a_page_without_an_id_is_found_by_its_canonical_url(store: SqlStore) -> None:
    commit(store, page("http://h/x", "a", item=None, url="http://h/x?utm_source=y"))
    assert [one["key"] for one in store.find_pages("http://h/x")] == ["s/http://h/x"]
    assert [one["item"] for one in store.find_pages("http://h/x?utm_source=y")] == [None]


def test_nothing_is_found_for_an_unknown_key(store: SqlStore) -> None:
    assert store.find_pages("s/1") == []
    assert store.find_pages("\0\ud800") == []


def test_the_url_is_the_last_one_seen_and_the_place_the_nearest_to_the_start(store: SqlStore) -> None:
    commit(store, page("1", "a", at=5, url="http://h/new", depth=2, parent="p"))
    commit(store, page("1", "a", at=1, url="http://h/old", depth=1, parent="q"))
    commit(store, page("1", "a", at=9, url=None, depth=3))
    record = record_of(store, "1")
    assert (record["url"], record["depth"], record["parent"]) == ("http://h/new", 1, "q")


def test_export_streams_all_pages_of_a_source_since_a_time(store: SqlStore) -> None:
    commit(store, *(page(str(n), f"text {n}", at=n) for n in range(1200)))
    commit(store, page("x", "other", source="t"))
    assert len(list(store.export())) == 1201
    assert {one["item"] for one in store.export(source="t")} == {"x"}
    assert len(list(store.export(source="s", since=NOW + 1_100_000_000))) == 100


INCOMPRESSIBLE = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(80))
HOSTILE = [
    "nul \0 inside",
    "lone \ud800 surrogate",
    INCOMPRESSIBLE,
    "ключ" * 2000,
    "tab\tnewline\n'quote\" \\ %s ? {x}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["nul", "surrogate", "long", "long-utf8", "signs"])
def test_hostile_text_anywhere_harms_no_batch(store: SqlStore, text: str) -> None:
    good = page("good", "fine")
    bad = page(text, "body", parent=text, url=f"http://h/{text}", item=text, discovered=[item(text + "2")], source="s")
    worse = broken(text + "3", item=text, url=text, parent=text, content_type=text, extra={text: text}, retry_at=NOW)
    parsed = ParsedPage(parser="html", parser_version=1, title=text, paragraphs=(text,), authors=(text,), language=text)
    other = arrival(Payload(source=text, body=b"y"), PageResult(page=parsed, item_key=text, content_hash="01y"))
    assert commit(store, good, bad, worse, other) == ["new", "new", "failed", "new"]
    assert commit(store, moved(bad, entry_id="9-9"), moved(other, entry_id="9-8")) == ["unchanged", "unchanged"]
    assert len(list(store.export())) == 3
    assert len(store.claim_failures(limit=9, lease_us=1, now=NOW, parser_versions={})) == 1


def test_numbers_beyond_a_column_harm_no_batch(store: SqlStore) -> None:
    huge = 2**70
    odd = page("1", "a", depth=huge, status=huge)
    assert commit(store, moved(odd, observed_at=huge, attempt=huge)) == ["new"]
    assert commit(store, moved(page("2", "b"), observed_at=-huge)) == ["new"]
    assert [one["last_seen"][:4] for one in store.export()] == ["9999", "0001"]


def test_the_bytes_of_every_arrival_are_kept_once(store: SqlStore) -> None:
    body = bytes(range(256)) * 40
    commit(store, page("1", "a", body=body), page("2", "b", body=body), broken("3", body))
    (failure,) = store.failures()
    assert store.failure_payload(failure["id"]) == body


def test_a_page_that_came_packed_is_kept_as_it_came(store: SqlStore) -> None:
    body = b"the same words, and the same words again, and the same words once more" * 20
    frame = zstandard.ZstdCompressor(level=19).compress(body)
    one = page("1", "a", body=body)
    commit(store, moved(one, payload=replace(one.payload, frame=frame)))
    (kept,) = store.archive()
    assert kept.payload is not None
    assert kept.payload.body == body
    with store._driver.transaction(write=False) as tx:
        assert tx.run("SELECT bytes, size FROM payload") == [(frame, len(body))]
