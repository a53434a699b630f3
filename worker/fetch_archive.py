"""What was fetched, as it was: a folder of WARC 1.1 files with the request and the response of each page.

Each process writes a file of its own, whose name ends in ``.open`` until it is closed, by size or age or with the
process. A file that a killed process left open is whole up to its last record.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from tasks.errors import ArchiveUnavailable
from tasks.fetch_ports import Fetched
from worker.warc_writer import exchange, warcinfo

OPEN: Final = ".open"
_ABOUT: Final = "what was fetched; bodies are without their codings, whose fields are called X-Archive-Orig-*"


class FetchArchive:
    """Writes exchanges into files of about ``max_bytes`` and ``max_seconds`` at most, the first when there is one."""

    def __init__(self, folder: Path, *, software: str, max_bytes: int, max_seconds: float) -> None:
        self._folder = folder
        self._software = software
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._file: BinaryIO | None = None
        self._path = folder
        self._ends = 0.0
        self._number = 0

    def keep(self, answers: Sequence[Fetched]) -> None:
        """Write exchanges down. Raises ``ArchiveUnavailable`` when that fails: then they are to be fetched again."""
        if not answers:
            return
        try:
            file = self._open()
            for answer in answers:
                file.write(exchange(answer))
            file.flush()
            if file.tell() > self._max_bytes or time.monotonic() > self._ends:
                self.close()
        except OSError as error:
            self._drop()
            message = f"what was fetched cannot be written to {self._folder}: {error.strerror or error}"
            raise ArchiveUnavailable(message) from error

    def close(self) -> None:
        """Close the file that is open, and give it its name. May be called twice."""
        file, self._file = self._file, None
        if file is not None:
            os.fsync(file.fileno())
            file.close()
            self._path.rename(self._path.with_suffix(""))

    def _drop(self) -> None:
        """Leave a file as it is that cannot be written."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            now = datetime.now(UTC)
            self._number += 1
            name = f"penstock-{now:%Y%m%dT%H%M%S%f}-{socket.gethostname()}-{os.getpid()}-{self._number}.warc.gz{OPEN}"
            self._path = self._folder / name
            self._file = self._path.open("xb")
            self._file.write(warcinfo(self._software, now, _ABOUT))
            self._ends = time.monotonic() + self._max_seconds
        return self._file
