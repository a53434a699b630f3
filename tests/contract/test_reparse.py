"""A reparse over a real store; what parses is a function of the test."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import Malformed, Permanent
from tasks.steps.fingerprint import payload_hash
from tasks.steps.page import Arrival, PageResult, Payload, SourceProfile
from tasks.steps.understand import failure_of, observed_at, understand
from tests.support.arrivals import NOW, SECOND, arrival, broken, commit, page
from tests.support.pages import body_of, dump_of
from worker.readers import read_paths
from worker.reparse import Looked, Reparse, State
from worker.store import PageFilter, Present, Reparsed, SqlStore, open_store
from worker.warc_writer import records

Parse = Callable[[Payload], PageResult]
OLDER = PageFilter(older_than={"vardump": 2})


def parses(**texts: str) -> Parse:
    """Return a second version of the parser: it finds these texts, by item; of the others what was found before."""

    def parse(payload: Payload) -> PageResult:
        item, text = payload.body.decode().split("|")
        result = page(item, texts.get(f"p{item}", text)).result
        assert isinstance(result, PageResult)
        return replace(result, page=replace(result.page, parser_version=2))

    return parse


def run(store: SqlStore, parse: Parse, where: PageFilter = OLDER, *, dry: bool = False, **more: Any) -> list[Looked]:
    action = None if dry else store.reparse_begins({}, now=NOW)
    return list(Reparse(store, parse, now=lambda: NOW, action=action).run(where, **more))


def states(looked: Sequence[Looked]) -> dict[str, str]:
    return {one.key: str(one.state) for one in looked}


def revisions(store: SqlStore) -> dict[str, int]:
    return {record["key"]: record["revision"] for record in store.export()}


def test_each_page_is_told_with_what_became_of_it(store: SqlStore) -> None:
    commit(store, *(page(str(n), f"t{n}") for n in range(4)))
    with store._driver.transaction() as tx:
        tx.run("DELETE FROM payload WHERE payload_hash = ?", payload_hash(b"2|t2"))
    parse = parses(p1="better")

    def picky(payload: Payload) -> PageResult:
        if payload.item == "3":
            message = "not any more"
            raise Malformed(message)
        return parse(payload)

    expected = {"s/0": "equal", "s/1": "content_changed", "s/2": "without_bytes", "s/3": "failed"}
    before = list(store.export())
    assert states(run(store, picky, dry=True)) == expected
    assert list(store.export()) == before
    looked = run(store, picky)
    assert states(looked) == expected
    (changed,) = [one for one in looked if one.key == "s/1"]
    assert changed.differences == {"title": ("T t1", "T better"), "paragraphs": (["t1"], ["better"])}
    assert revisions(store) == {"s/0": 1, "s/1": 2, "s/2": 1, "s/3": 1}
    assert states(run(store, picky)) == {"s/2": "without_bytes", "s/3": "failed"}


def test_one_that_was_ended_goes_on_where_it_was(store: SqlStore) -> None:
    commit(store, *(page(f"{n:03}", f"t{n}") for n in range(250)))
    action = store.reparse_begins({}, now=NOW)
    looked = Reparse(store, parses(), now=lambda: NOW, action=action).run(OLDER)
    assert next(looked).state is State.EQUAL
    rest = run(store, parses())
    assert len(rest) == 150
    assert run(store, parses()) == []
    assert len(run(store, parses(), PageFilter())) == 250


def test_a_limit_counts_what_was_understood_so_that_each_run_gets_on(store: SqlStore) -> None:
    commit(store, *(page(str(n), f"t{n}") for n in range(6)))
    parse = parses()

    def picky(payload: Payload) -> PageResult:
        if payload.item in {"0", "1"}:
            raise Malformed
        return parse(payload)

    runs = [states(run(store, picky, limit=2)) for _ in range(3)]
    assert [list(one.values()).count("equal") for one in runs] == [2, 2, 0]
    assert [set(one) - {"s/0", "s/1"} for one in runs] == [{"s/2", "s/3"}, {"s/4", "s/5"}, set()]


def test_a_page_that_a_worker_changes_meanwhile_is_looked_at_again(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("2", "b"))
    parse, arriving = parses(p1="better"), [page("1", "c", at=1)]

    def while_a_worker_works(payload: Payload) -> PageResult:
        if arriving:
            commit(store, arriving.pop())
        return parse(payload)

    assert states(run(store, while_a_worker_works)) == {"s/2": "equal", "s/1": "content_changed"}
    assert revisions(store) == {"s/1": 3, "s/2": 1}


def test_a_page_that_never_holds_still_is_told(store: SqlStore) -> None:
    commit(store, page("1", "0"))
    parse, times = parses(p1="better"), iter(range(1, 100))

    def while_a_worker_works(payload: Payload) -> PageResult:
        at = next(times)
        commit(store, page("1", str(at), at=at))
        return parse(payload)

    assert states(run(store, while_a_worker_works)) == {"s/1": "changed_meanwhile"}


class Refusing:
    """A store that refuses one page for good."""

    def __init__(self, store: SqlStore, key: str) -> None:
        self._store = store
        self._key = key

    def present_revisions(self, where: PageFilter) -> Iterator[list[Present]]:
        return self._store.present_revisions(where)

    def present_revisions_of(self, page_ids: Sequence[int]) -> list[Present]:
        return self._store.present_revisions_of(page_ids)

    def reparse_begins(self, told: Mapping[str, Any], *, now: int) -> int:
        return self._store.reparse_begins(told, now=now)

    def commit_reparse(self, parsed: Sequence[Reparsed], *, action: int, now: int) -> list[int]:
        if any(one.present.identity.item_key == self._key for one in parsed):
            message = "the store refuses the data"
            raise Permanent(message)
        return self._store.commit_reparse(parsed, action=action, now=now)


def test_a_page_that_the_store_refuses_fails_itself_only(store: SqlStore) -> None:
    commit(store, *(page(str(n), f"t{n}") for n in range(3)))
    action = store.reparse_begins({}, now=NOW)
    reparse = Reparse(Refusing(store, "1"), parses(p0="x", p1="y", p2="z"), now=lambda: NOW, action=action)
    looked = list(reparse.run(OLDER))
    assert Counter(states(looked).values()) == {"content_changed": 2, "failed": 1}
    assert revisions(store) == {"s/0": 2, "s/1": 1, "s/2": 2}


# --- the raw archive, out and in again ------------------------------------------------------------------------------

PROFILE = SourceProfile(name="s", item_url="http://h/{id}", hosts=("h",), max_depth=3)


def arrives(payload: Payload, at: int) -> Arrival:
    """Return what the worker makes of a payload."""
    body_hash = payload_hash(payload.body)
    try:
        result: Any = understand(payload, PROFILE)
    except Permanent as error:
        result = failure_of(error, payload, body_hash)
    made = arrival(payload, result, at)
    return replace(made, observed_at=observed_at(payload, made.entry_id)) if payload.fetched_at else made


def crawl() -> list[Arrival]:
    def body(text: str, related: str) -> bytes:
        return body_of(datetime(2024, 1, 1), (text,), "E/S 1-1", dump_of(((related, "more"),)))  # noqa: DTZ001

    html = "<html><head><title>Гавань</title></head><body><article><p>{}</p></article></body></html>"
    cyrillic = html.format("Вечером прилив повернул раньше, чем обещали. " * 5).encode("cp1251")
    russian = Payload(
        source="t",
        body=cyrillic,
        url="http://h/ru?a=ж",
        content_type="text/html; charset=windows-1251",
        fetched_at=datetime(2024, 5, 6, 7, 8, 9, 987654, tzinfo=UTC),
    )
    return [
        arrives(Payload(source="s", body=body("One.", "8"), item="1", url="http://h/1"), 0),
        arrives(Payload(source="s", body=body("Two.", "9"), item="1", depth=2, parent="7", url="http://h/1"), 1),
        arrives(Payload(source="s", body=body("One.", "9"), item="1", url="http://h/1", extra={"a\n": "é"}), 2),
        arrives(Payload(source="s", body=body("One.", "9"), item="2", url="http://h/2", status=200), 3),
        arrives(Payload(source="s", body=body("Nameless.", "9")), 4),
        arrives(russian, 5),
        arrives(Payload(source="s", body=b"no page", item="3", url="http://h/3"), 6),
    ]


def test_an_archive_that_is_read_back_makes_the_same_pages(store: SqlStore, tmp_path: Path) -> None:
    arrivals = crawl()
    store.commit(arrivals, worker="w", now=NOW)
    assert store.counts().failures == {"dead": 1}
    content = b"".join(one for one in records(store.archive(), "p/1", datetime.now(UTC)) if one is not None)
    reads = read_paths(["-"], source=None, fmt="warc", stdin=io.BytesIO(gzip.decompress(content)), max_body=1 << 20)
    payloads = [one.result for one in reads if one.result is not None]
    assert len(payloads) == len(arrivals)
    with closing(open_store(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        again = [arrives(payload, 10_000) for payload in payloads if isinstance(payload, Payload)]
        other.commit(again, worker="w", now=NOW + 10_000 * SECOND)
        pages = {record["key"]: record for record in store.export()}
        assert {record["key"]: record for record in other.export()} == pages
        assert pages["s/2"]["duplicate_of"] == "s/1"
        assert pages["t/http://h/ru?a=%D0%B6"]["title"] == "Гавань"
        for number in (1, 2, 3):
            assert other.page_record("s", "1", revision=number) == store.page_record("s", "1", revision=number)
        assert [one["item"] for one in other.failures()] == ["3"]


def test_a_failure_that_is_resolved_is_not_in_the_archive_any_more(store: SqlStore) -> None:
    commit(store, broken("1"), page("1", "a", at=1))
    assert [one.kind for one in store.archive()] == ["revision"]
