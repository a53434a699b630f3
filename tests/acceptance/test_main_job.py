"""A page goes in, and its parsed, deduped result is in the store."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.conftest import Penstock, nonzero
from tests.support.corpus import corpus, page, reference

TEXT = (
    "The harbour council voted on Tuesday to keep the old winter market open for another year.",
    "“It is the only place where the captains meet,” the chairwoman said.",
    "The vote was close, and a second one may follow in the spring., Courier reported.",
)
RELATED = ("501", "502", "503")


def _file(folder: Path, name: str, body: bytes) -> Path:
    path = folder / name
    path.write_bytes(body)
    return path


def _ingest(penstock: Penstock, path: Path, item: str) -> None:
    penstock.run("push", "--source", "alalam", "--item", item, path)
    penstock.run("work", "--drain", "--only", "ingest")


def test_a_page_is_stored_with_all_its_fields(penstock: Penstock, tmp_path: Path) -> None:
    _ingest(penstock, _file(tmp_path, "page.txt", page(TEXT, RELATED, sort=5_000_000)), "400")
    record = penstock.json("show", "alalam/400")
    assert record["published_at"] == "2022-03-13T08:15:20+03:30"
    assert record["published_raw"] == "Sun Mar 13, 2022 08:15:20"
    assert record["paragraphs"] == list(TEXT)
    assert record["wire_service"] == "Courier"
    assert record["desk_code"] == "K/L 104-7"
    assert [one["id"] for one in record["related"]] == list(RELATED)
    assert record["related"][0]["tags"] == ["PHOTOS"]
    assert record["related"][0]["media_kind"] == "image"
    assert record["related"][0]["title"] == "PHOTOS: Report number 501 from the “old” quay"
    assert (record["title"], record["language"], record["authors"]) == (None, None, [])
    assert (record["revision"], record["duplicate_of"], record["depth"], record["parent"]) == (1, None, 0, None)
    states = penstock.json("status")["items"]
    assert states == {"fetched": 1, "due": 3}


def test_pushed_again_a_page_is_unchanged_duplicate_or_revision(penstock: Penstock, tmp_path: Path) -> None:
    first = _file(tmp_path, "first.txt", page(TEXT, RELATED))
    _ingest(penstock, first, "400")
    _ingest(penstock, first, "400")
    assert penstock.outcomes() == {"new": 1, "unchanged": 1}
    day = page(TEXT, RELATED).split(b"\n", 1)[0]
    other_block = day + b"\n" + page(TEXT, ("601", "602"), sort=7_000_000).split(b"\n", 1)[1]
    _ingest(penstock, _file(tmp_path, "block.txt", other_block), "400")
    assert penstock.outcomes() == {"new": 1, "unchanged": 2}
    _ingest(penstock, first, "401")
    assert penstock.outcomes() == {"new": 1, "unchanged": 2, "duplicate": 1}
    assert penstock.json("show", "alalam/401")["duplicate_of"] == "alalam/400"
    edited = (TEXT[0].replace("another year", "two more years"), *TEXT[1:])
    _ingest(penstock, _file(tmp_path, "edited.txt", page(edited, RELATED)), "400")
    assert penstock.outcomes() == {"new": 1, "unchanged": 2, "duplicate": 1, "revision": 1}
    now, before = penstock.json("show", "alalam/400"), penstock.json("show", "alalam/400", "--revision", "1")
    assert (now["revision"], now["paragraphs"]) == (2, list(edited))
    assert (before["revision"], before["paragraphs"]) == (1, list(TEXT))
    assert penstock.json("audit")["balanced"] is True


def test_a_page_without_item_or_url_is_its_content(penstock: Penstock) -> None:
    body = page(TEXT, RELATED)
    for _ in range(2):
        penstock.run("push", "-", "--source", "loose", stdin=body)
    penstock.run("work", "--drain", "--only", "ingest")
    assert penstock.outcomes() == {"new": 1, "unchanged": 1}
    (record,) = penstock.export().values()
    assert record["key"] == f"loose/{record['content_hash']}"
    assert penstock.json("show", record["content_hash"]) == record
    assert penstock.json("status")["items"]["unroutable"] == len(RELATED)


def test_a_truncated_page_is_kept_with_its_bytes(penstock: Penstock, tmp_path: Path) -> None:
    whole = page(TEXT, RELATED)
    _ingest(penstock, _file(tmp_path, "cut.txt", whole[:-50]), "400")
    (group,) = penstock.json("failures")
    assert (group["error_class"], group["source"], group["count"], group["state"]) == ("Truncated", "alalam", 1, "dead")
    (failure,) = penstock.json("failures", "--fingerprint", group["fingerprint"])
    assert (failure["item"], failure["size"]) == ("400", len(whole) - 50)
    assert penstock.run("failures", "--payload", str(failure["id"])).encode() == whole[:-50]
    assert penstock.outcomes() == {"failed": 1}
    # The whole page arrives later: the failure is resolved by it.
    _ingest(penstock, _file(tmp_path, "whole.txt", whole), "400")
    status = penstock.json("status")
    assert (nonzero(status["outcomes"]), status["failures"]) == ({"new": 1, "failed": 1}, {"resolved": 1})
    assert penstock.json("audit")["balanced"] is True


def test_replay_and_drop_act_on_what_the_filter_names(penstock: Penstock, tmp_path: Path) -> None:
    for number in range(3):
        _ingest(penstock, _file(tmp_path, f"{number}.txt", page(TEXT, RELATED)[: -40 - number]), str(700 + number))
    assert penstock.json("replay", "--class", "Truncated", "--dry-run")["count"] == 3
    assert penstock.json("status")["failures"] == {"dead": 3}
    assert penstock.json("replay", "--item", "701")["count"] == 1
    assert penstock.json("status")["failures"] == {"dead": 2, "waiting": 1}
    penstock.run("work", "--drain", "--only", "retry")
    assert penstock.json("status")["failures"] == {"dead": 3}
    assert penstock.json("drop", "--all", "--limit", "2")["count"] == 2
    assert penstock.json("status")["failures"] == {"dead": 1, "dropped": 2}
    assert penstock.json("audit")["balanced"] is True


def test_twenty_thousand_pages_match_a_plain_reference(either_store: Penstock) -> None:
    pushes = corpus(seed=20, pages=20_000)
    truth = reference(pushes)
    either_store.push_lines([push.envelope() for push in pushes])
    either_store.run("work", "--drain", "--only", "ingest", "--concurrency", "2")
    status = either_store.json("status")
    assert nonzero(status["outcomes"]) == dict(truth.outcomes)
    assert sum(status["items"].values()) == len(truth.named)
    assert status["failures"] == {"dead": len(truth.failed)}
    stored = either_store.export()
    assert set(stored) == {f"bench/{item}" for item in truth.texts}
    for item, texts in truth.texts.items():
        record = stored[f"bench/{item}"]
        assert (record["revision"], tuple(record["paragraphs"])) == (len(texts), texts[-1])
    result = either_store.json("audit")
    assert result == {**result, "balanced": True, "accepted": 20_000, "in_stream": 0, "difference": 0}
    json.dumps(result)
