"""Pages of nearly the same text are put into clusters, on both stores."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.steps.clusters import BUCKET
from tasks.steps.page import Arrival
from tests.support.arrivals import NOW, SECOND, broken, commit, page, retry_of
from worker.store import PageFilter, Reparsed, SqlStore, near, open_store
from worker.store.driver import statement

LATER = NOW + SECOND
# Takes a store back to r0005, which had no near-duplicates, with all its pages.
_UNDO = (
    "DROP TABLE host_pause",
    "DROP TABLE robots",
    "DROP TABLE day_fetch",
    "DROP INDEX item_scheduled",
    *(f"ALTER TABLE item DROP COLUMN {name}" for name in ("recrawl_us", "checked_at", "gone_at", "bound")),
    "DROP TABLE source_profile",
    "ALTER TABLE revision DROP COLUMN profile_version",
    "DROP TABLE near_key",
    "DROP TABLE near_text",
    "DROP TABLE near_due",
    "DELETE FROM job WHERE name = 'texts_sketched'",
    "UPDATE alembic_version SET version_num = 'r0005'",
)


def text(name: str, *, more: str = "", words: int = 80) -> str:
    """Return a text; those of one name, whatever more they have, are nearly the same."""
    return " ".join([more, *(f"{name}{at}" for at in range(words)), more]).strip()


def compare(store: SqlStore) -> int:
    """Compare what is due; return how many texts that were."""
    done, more = 0, True
    while more:
        counts, more = store.compare_texts(now=LATER)
        done += counts.get("texts_compared", 0)
    return done


def clusters(store: SqlStore) -> list[list[str]]:
    """Return the clusters of more than one page, their representatives first."""
    found = {}
    for record in store.export():
        (one,) = store.similar(record["key"])
        found[one["representative"]] = [member["key"] for member in one["members"]]
    return sorted(one for one in found.values() if len(one) > 1)


def rows(store: SqlStore, sql: str) -> list[tuple[Any, ...]]:
    with store._driver.transaction(write=False) as tx:
        return tx.run(sql)


def of(store: SqlStore, key: str) -> list[str]:
    (record,) = store.find_pages(key)
    found: list[str] = record["near_duplicates"]
    return found


def test_pages_of_nearly_the_same_text_are_linked(store: SqlStore) -> None:
    assert commit(
        store,
        page("2", text("a"), at=5),
        page("1", text("a", more="so they said"), at=9, source="t"),
        page("3", text("b"), at=1),
    ) == ["new", "new", "new"]
    assert of(store, "s/2") == []
    assert store.texts_are_due()
    assert compare(store) == 3
    assert not store.texts_are_due()
    assert [of(store, key) for key in ("s/2", "t/1", "s/3")] == [["t/1"], ["s/2"], []]
    assert {one["key"]: one["near_duplicates"] for one in store.export()} == {"s/2": ["t/1"], "t/1": ["s/2"], "s/3": []}
    (found,) = store.similar("t/1")
    assert (found["key"], found["compared"], found["representative"]) == ("t/1", True, "s/2")
    first, second = found["members"]
    assert first == {
        "key": "s/2",
        "title": f"T {text('a')}",
        "similarity": pytest.approx(0.9, abs=0.1),
        "first_seen": "2023-11-14T22:13:25+00:00",
        "representative": True,
    }
    assert (second["key"], second["similarity"], second["representative"]) == ("t/1", 1.0, False)


def test_a_page_alone_is_its_own_cluster(store: SqlStore) -> None:
    commit(store, page("1", text("a")))
    compare(store)
    (found,) = store.similar("s/1")
    assert (found["representative"], [one["key"] for one in found["members"]]) == ("s/1", ["s/1"])
    assert store.similar("s/2") == []


def test_what_is_short_or_waits_is_told(store: SqlStore) -> None:
    commit(store, page("1", text("a", words=20)), page("2", text("b")))
    told: dict[str, Any] = {"compared": False, "representative": None, "members": []}
    assert store.similar("s/1") + store.similar("s/2") == [{"key": "s/1", **told}, {"key": "s/2", **told}]
    assert compare(store) == 1
    assert store.similar("s/1") == [{"key": "s/1", **told}]


def test_what_is_unchanged_or_a_duplicate_is_not_compared_again(store: SqlStore) -> None:
    commit(store, page("1", text("a")))
    assert commit(store, page("1", text("a"), at=3), page("2", text("a"), at=4)) == ["unchanged", "duplicate"]
    assert rows(store, "SELECT count(*) FROM near_due") == [(1,)]
    commit(store, page("3", text("a", more="or so")))
    compare(store)
    assert [of(store, key) for key in ("s/1", "s/2", "s/3")] == [["s/3"], ["s/3"], ["s/1", "s/2"]]
    assert [one["similarity"] == 1.0 for one in store.similar("s/1")[0]["members"]] == [True, False, True]


def test_a_revision_leaves_its_cluster_with_its_old_text(store: SqlStore) -> None:
    commit(store, page("1", text("a")), page("2", text("a", more="too"), at=1), page("3", text("b"), at=2))
    compare(store)
    assert commit(store, page("1", text("b", more="now"), at=9)) == ["revision"]
    compare(store)
    assert clusters(store) == [["s/1", "s/3"]]
    assert store.page_record("s", "1", revision=1)["near_duplicates"] == ["s/2"]  # type: ignore[index]
    commit(store, page("1", text("a"), at=12))
    assert rows(store, "SELECT count(*) FROM near_due") == [(1,)]
    compare(store)
    assert clusters(store) == [["s/1", "s/2"]]
    assert rows(store, "SELECT count(*) FROM near_text") == [(4,)]


def test_a_text_between_two_clusters_makes_one_of_them(store: SqlStore) -> None:
    left, right = text("a", words=120), text("b", words=120)
    for number, one in enumerate((left, left + " x", right, right + " x")):
        commit(store, page(str(number), one, at=number))
    compare(store)
    assert clusters(store) == [["s/0", "s/1"], ["s/2", "s/3"]]
    commit(store, page("4", f"{left} {right}", at=-1))
    compare(store)
    assert clusters(store) == [["s/4", "s/0", "s/1", "s/2", "s/3"]]


def test_a_bucket_has_a_bound_and_finds_all_the_same(store: SqlStore) -> None:
    for number in range(3):
        commit(store, *(page(f"{number}-{at}", text("a", more=f"{number} {at}")) for at in range(BUCKET)))
        compare(store)
    assert max(n for (n,) in rows(store, "SELECT count(*) FROM near_key GROUP BY key")) == BUCKET
    (found,) = clusters(store)
    assert len(found) == 3 * BUCKET
    assert found == sorted(found)


def test_no_more_members_are_told_than_the_bound(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.clusters.MOST_MEMBERS", 2)
    commit(store, *(page(str(at), text("a", more=f"{at}"), at=-at) for at in range(4)))
    compare(store)
    (found,) = store.similar("s/0")
    assert (found["representative"], [one["key"] for one in found["members"]]) == ("s/3", ["s/3", "s/2"])
    assert of(store, "s/0") == ["s/3", "s/2"]


def test_a_failure_that_becomes_a_page_is_compared(store: SqlStore) -> None:
    commit(store, page("1", text("a")), broken("2", retry_at=NOW))
    mended = page("2", text("a", more="mended")).result
    assert store.commit_retry(retry_of(store, now=LATER, result=mended), worker="w", now=LATER) == "new"
    compare(store)
    assert of(store, "s/1") == ["s/2"]


def test_what_a_second_parse_makes_of_a_page_is_compared(store: SqlStore) -> None:
    commit(store, page("1", text("a")), page("2", text("b")))
    compare(store)
    presents = [one for chunk in store.present_revisions(PageFilter()) for one in chunk]
    parsed = Reparsed.of(presents[1], page("2", text("a", more="rightly")).result)  # type: ignore[arg-type]
    store.commit_reparse([parsed], action=store.reparse_begins({}, now=NOW), now=LATER)
    compare(store)
    assert of(store, "s/2") == ["s/1"]


def test_what_is_due_waits_where_it_is_switched_off(store_url: str) -> None:
    with closing(open_store(store_url)) as on, closing(open_store(store_url, near=False)) as off:
        commit(on, page("1", text("a")), page("2", text("a", more="x")))
        assert not off.texts_are_due()
        assert compare(off) == 0
        assert on.texts_are_due()
        assert compare(on) == 2
        assert clusters(off) == [["s/1", "s/2"]]


def test_nothing_is_left_where_it_is_switched_off(store_url: str) -> None:
    with closing(open_store(store_url, near=False)) as store:
        commit(store, page("1", text("a")), page("2", text("a", more="x")))
        assert not store.texts_are_due()
        assert store.compare_texts(now=LATER) == ({}, False)


def test_portions_go_on_where_the_last_one_ended(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "PORTION", 3)
    commit(store, *(page(str(at), text("a", more=f"{at}")) for at in range(7)))
    assert [store.compare_texts(now=LATER) for _ in range(4)] == [
        ({"texts_compared": 3}, True),
        ({"texts_compared": 3}, True),
        ({"texts_compared": 1}, False),
        ({}, False),
    ]
    assert len(clusters(store)[0]) == 7


def test_a_portion_that_is_undone_is_done_again(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, page("1", text("a")), page("2", text("a", more="x")))
    with monkeypatch.context() as patched:
        patched.setattr(
            near, "_STORE", statement("INSERT INTO no_table SELECT cluster FROM {rows}", **dict(near._STORE.columns))
        )
        with pytest.raises(Exception, match="no_table"):
            store.compare_texts(now=LATER)
    assert rows(store, "SELECT count(*) FROM near_text") == [(0,)]
    assert compare(store) == 2
    assert of(store, "s/1") == ["s/2"]


def test_pages_of_before_are_sketched_once(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "PAGES", 2)
    with closing(open_store(store_url, near=False)) as old:
        commit(old, *(page(str(at), text("a", more=f"{at}"), at=at) for at in range(4)), page("9", text("b")))
        commit(old, page("1", text("b", more="now"), at=9))
        with old._driver.transaction() as tx:
            for undo in _UNDO:
                tx.run(undo)
    with closing(open_store(store_url)) as store:
        assert store.texts_are_due()
        assert commit(store, page("5", text("a", more="new"), at=20)) == ["new"]
        sketched = [store.compare_texts(now=LATER)[0]["texts_sketched"] for _ in range(3)]
        assert sketched == [2, 2, 1]
        assert not store.texts_are_due()
        assert clusters(store) == [["s/0", "s/2", "s/3", "s/5"], ["s/9", "s/1"]]


# --- clusters commute ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    open_store(f"sqlite:///{path}").close()
    return path


def arrivals(seed: int) -> list[Arrival]:
    """Return a few pages of three families of texts, revised from one into another."""
    rng = random.Random(seed)
    return [
        page(str(rng.randrange(5)), text(rng.choice("abc"), more=f"m{rng.randrange(3)}"), at=at) for at in range(10)
    ]


def after(path: Path, batches: Sequence[Sequence[Arrival]]) -> tuple[list[list[str]], list[tuple[Any, ...]]]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        for batch in batches:
            commit(store, *batch)
            compare(store)
        return clusters(store), sorted(rows(store, "SELECT content, cluster FROM near_text"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.randoms(use_true_random=False), st.integers(1, 10))
def test_any_order_and_any_batches_end_in_the_same_clusters(
    empty_sqlite: Path, seed: int, rng: random.Random, size: int
) -> None:
    of = arrivals(seed)
    shuffled = rng.sample(of, len(of))
    with tempfile.TemporaryDirectory(dir=empty_sqlite.parent) as folder:
        paths = [Path(shutil.copyfile(empty_sqlite, Path(folder) / f"{name}.db")) for name in ("one", "other")]
        batches = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
        assert after(paths[0], [of]) == after(paths[1], batches)
