"""The archive of what was fetched, read by warcio, which shares no code with us."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from tasks.errors import ArchiveUnavailable
from tasks.fetch_ports import Fetched
from worker.fetch_archive import FetchArchive
from worker.readers import read_paths

PAGE = Fetched(
    url="https://site.example/a?b=c",
    status=200,
    body="<p>Größe\r\n\r\n</p>".encode(),
    content_type="text/html; charset=utf-8",
    fetched_at=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
    request_head=b"GET /a?b=c HTTP/1.1\r\nHost: site.example\r\n\r\n",
    response_head=b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\ncontent-encoding: gzip\r\n"
    b"Content-Length: 7\r\nSet-Cookie: a=b\r\n\r\n",
)


def archive(folder: Path, *, max_bytes: int = 1_000_000, max_seconds: float = 3600) -> FetchArchive:
    return FetchArchive(folder, software="penstock/1", max_bytes=max_bytes, max_seconds=max_seconds)


def test_request_and_response_are_kept_as_they_were(tmp_path: Path) -> None:
    ours = archive(tmp_path / "warc")
    ours.keep([PAGE])
    ours.close()
    ours.close()
    (file,) = (tmp_path / "warc").iterdir()
    assert file.name.endswith(".warc.gz")
    with file.open("rb") as stream:
        found = [
            (one.rec_type, one.rec_headers, one.http_headers, one.content_stream().read())
            for one in ArchiveIterator(stream, check_digests="raise")
        ]
    assert [kind for kind, *_ in found] == ["warcinfo", "response", "request"]
    _, response, request = found
    assert response[1]["WARC-Target-URI"] == request[1]["WARC-Target-URI"] == PAGE.url
    assert response[1]["WARC-Date"] == "2024-05-06T07:08:09.123456Z"
    assert request[1]["WARC-Concurrent-To"] == response[1]["WARC-Record-ID"]
    assert response[2].statusline == "200 OK"
    assert response[2]["X-Archive-Orig-content-encoding"] == "gzip"
    assert response[2]["Set-Cookie"] == "a=b"
    assert response[2]["Content-Length"] == str(len(PAGE.body))
    assert response[3] == PAGE.body
    assert request[2].headers == [("Host", "site.example")]


def test_it_can_be_pushed_again(tmp_path: Path) -> None:
    ours = archive(tmp_path)
    ours.keep([PAGE, replace(PAGE, url="https://site.example/b", body=b"")])
    (file,) = tmp_path.iterdir()
    whole = shutil.copy(file, tmp_path / "left.warc.gz")  # still open, as a killed process leaves it
    ours.close()
    reads = [one.result for one in read_paths([str(whole)], source="s", fmt="warc", stdin=None, max_body=10_000)]  # type: ignore[arg-type]
    (page, *_) = [one for one in reads if one is not None]
    assert (page.url, page.body, page.content_type) == (PAGE.url, PAGE.body, PAGE.content_type)  # type: ignore[union-attr]


@pytest.mark.parametrize("bounds", [{"max_bytes": 1}, {"max_seconds": 0}])
def test_a_file_that_is_full_or_old_is_closed(tmp_path: Path, bounds: dict[str, float]) -> None:
    ours = archive(tmp_path, **bounds)  # type: ignore[arg-type]
    for _ in range(3):
        ours.keep([PAGE])
    assert len([one for one in tmp_path.iterdir() if one.suffix == ".gz"]) == 3


def test_nothing_is_made_before_something_is_kept(tmp_path: Path) -> None:
    ours = archive(tmp_path / "warc")
    ours.keep([])
    ours.close()
    assert not (tmp_path / "warc").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "warc").write_text("a file")
    with pytest.raises(ArchiveUnavailable, match=f"cannot be written to {tmp_path}/warc: "):
        archive(tmp_path / "warc").keep([PAGE])
