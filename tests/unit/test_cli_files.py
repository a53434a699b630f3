"""Times as options, files written whole, and differences as they are printed."""

from __future__ import annotations

import io
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import PenstockError, UsageError
from worker.cli.differences import MAX_LINES, MAX_WIDTH, print_differences
from worker.cli.target import writing
from worker.cli.times import micros_of
from worker.reparse import Looked, State

SECOND = 1_000_000


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2026-08-01", datetime(2026, 8, 1, tzinfo=UTC)),
        ("2026-08-01T10:00:00Z", datetime(2026, 8, 1, 10, tzinfo=UTC)),
        (" 2026-08-01t10:00:00.25+02:00 ", datetime(2026, 8, 1, 8, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_time_or_a_date_is_that_moment(text: str, moment: datetime) -> None:
    assert micros_of("--since", text) == round(moment.timestamp() * SECOND)
    assert micros_of("--since", None) is None


@pytest.mark.parametrize(
    "text, seconds", [("90s", 90), ("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_an_age_is_counted_back_from_now(text: str, seconds: int) -> None:
    moment = micros_of("--since", text)
    assert moment is not None
    assert abs(moment - (time.time() - seconds) * SECOND) < 5 * SECOND


@pytest.mark.parametrize("text", ["", "soon", "7", "d", "-7d", "999999w", "2026-02-30", "2026-08-01T10:00:00", "7 d"])
def test_what_is_no_time_is_told_with_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--until takes a time with its offset"):
        micros_of("--until", text)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with writing(out) as write:
        write(b"one")
        assert not out.exists()
    assert (out.read_bytes(), names(tmp_path)) == (b"one", ["out"])


def test_what_had_the_name_before_stays_when_the_writing_fails(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"before")

    def fails() -> None:
        with writing(out) as write:
            write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert (out.read_bytes(), names(tmp_path)) == (b"before", ["out"])


def test_a_link_still_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out")
    with writing(tmp_path / "link") as write:
        write(b"one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "out").read_bytes() == b"one"


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_disk_that_is_full_is_told_and_no_half_file_is_left(tmp_path: Path, size: int) -> None:
    out = tmp_path / "out"

    def fill() -> None:
        with writing(out) as write:
            write(b"x" * size)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))
    try:
        with pytest.raises(PenstockError, match=f"{out}: cannot be written: File too large"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


def printed(capsys: pytest.CaptureFixture[str], **differences: tuple[Any, Any]) -> list[str]:
    print_differences(Looked(key="s/1", state=State.FIELDS, differences=differences))
    return capsys.readouterr().out.splitlines()


def test_fields_are_printed_with_old_and_new_value_and_nothing_that_moves_the_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert printed(capsys, title=("old\x1b[2J", None), authors=(["A", "B"], [])) == [
        "s/1",
        "  title: old�[2J → none",
        "  authors: A, B → none",
    ]
    assert printed(capsys) == ["s/1: the content hash is another"]


def test_of_long_texts_the_place_is_shown_where_they_part(capsys: pytest.CaptureFixture[str]) -> None:
    same = "x" * 1000
    _, _, old, new = printed(capsys, paragraphs=(["a", f"{same}old{same}"], ["a", f"{same}new{same}"]))
    assert "xold" in old
    assert "xnew" in new
    assert max(len(old), len(new)) < MAX_WIDTH + 10


def test_long_lists_are_cut_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    many = [str(n) for n in range(100)]
    lines = printed(capsys, paragraphs=([], many))
    assert len(lines) == MAX_LINES + 3
    assert lines[-1] == f"    … and {100 - MAX_LINES} more lines"
    huge = [f"{n}" for n in range(3000)]
    assert printed(capsys, paragraphs=(huge, huge[::-1]))[2:] == ["    3,000 lines → 3,000 lines"]


def test_a_related_item_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    item: dict[str, Any] = {"id": "7", "title": "Seven", "tags": [], "media_kind": "video", "media_path": None}
    assert printed(capsys, related=([], [item])) == ["s/1", "  related", "    + 7  Seven  (media_kind video)"]


def test_standard_output_is_written_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", out)
    with writing(None) as write:
        write(b"one")
    assert out.buffer.getvalue() == b"one"
