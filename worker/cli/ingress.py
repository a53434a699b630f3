"""``penstock push``."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TextIO, cast

import typer

from tasks.errors import SourcePaused, StreamFull, UsageError
from tasks.steps.payload import MAX_SOURCE
from worker.cli.output import Json, say, say_json, warn

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tasks.steps.page import Payload
    from worker.readers import Read
    from worker.stream import PageStream

MAX_TOLD = 20
SOURCE_NAME = re.compile(r"[^\s/\x00-\x1f]+")
SURROGATES = range(0xD800, 0xE000)  # how Python holds bytes of an argument that are no text


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(push)


def push(
    paths: Annotated[
        list[str], typer.Argument(help="Files, directories, NDJSON envelopes, WARC files, or - for standard input.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="The source's name. NDJSON envelopes and our own WARC records name theirs.", show_default=False
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(help="The page's URL (one page only).", show_default=False)] = None,
    item: Annotated[str | None, typer.Option(help="The page's item ID (one page only).", show_default=False)] = None,
    content_type: Annotated[
        str | None, typer.Option(help="MIME type, where the file name does not say it.", show_default=False)
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Read as page, ndjson or warc, whatever the name.", show_default=False),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait while the stream is full, instead of exit code 75.")
    ] = False,
    json: Json = False,
) -> None:
    """Push pages onto the stream.

    A plain file is one page. Directories are walked. FILE.ndjson and FILE.jsonl (also .gz, .zst) hold one envelope
    a line, FILE.warc and FILE.warc.gz response records, or what 'export --format warc' wrote. Nothing is read into
    memory whole.

    Input that cannot be read is told with file and line, and the rest is pushed; the exit code is then 2.
    """
    from worker.producer import batched
    from worker.readers import read_paths, total_bytes
    from worker.runtime import open_stream, runtime

    _check_usage(paths, source, url, item, form)
    stream = open_stream(runtime())
    reads = read_paths(
        paths,
        source=source,
        url=url,
        item=item,
        content_type=content_type,
        fmt=form,
        stdin=_stdin(paths),
        max_body=runtime().settings.max_body_bytes,
    )
    tally = _Tally(lambda: total_bytes(paths))
    with tally:
        try:
            stream.push_each(
                batched(tally.good(reads)),
                otherwise=lambda batch: _push_batch(stream, batch, tally, wait=wait),
                taken=tally.takes,
            )
        except StreamFull as error:
            message = f"{error} ({tally.pushed:,} payloads were pushed before)"
            raise StreamFull(message) from error
        except KeyboardInterrupt:
            warn(f"penstock: interrupted; {tally.pushed:,} payloads were pushed")
            raise
    _summary(tally, json=json)


def _push_batch(stream: PageStream, batch: Sequence[Payload], tally: _Tally, *, wait: bool) -> list[str]:
    """Push a batch that was refused; pages of a paused source are told and counted, and the others go on."""
    from worker.producer import push_batch

    while batch:
        try:
            return push_batch(stream, batch, wait=wait, on_wait=tally.waits)
        except SourcePaused as error:
            source = error.details["source"]
            tally.refuse(error, sum(one.source == source for one in batch))
            batch = [one for one in batch if one.source != source]
    return []


def _stdin(paths: list[str]) -> BinaryIO:
    stream = cast("TextIO | None", sys.stdin)  # None when the shell closed it, which its type does not say
    if stream is not None:
        return stream.buffer
    if "-" in paths:
        message = "standard input is closed, there is nothing to read from -"
        raise UsageError(message)
    return io.BytesIO()


def _check_usage(paths: list[str], source: str | None, url: str | None, item: str | None, form: str | None) -> None:
    for path in paths:
        if path != "-" and not Path(path).exists():
            message = f"{path}: no such file or directory"
            raise UsageError(message)
    if form not in {None, "page", "ndjson", "warc"}:
        message = f"--format is page, ndjson or warc, not '{form}'"
        raise UsageError(message)
    names_page = url is not None or item is not None
    if names_page and (len(paths) != 1 or Path(paths[0]).is_dir()):
        message = "--url and --item name one page: give exactly one file with them"
        raise UsageError(message)
    for option, value in (("--source", source), ("--url", url), ("--item", item)):
        if value == "":
            message = f"{option} must not be empty"
            raise UsageError(message)
        if value is not None and any(ord(char) in SURROGATES for char in value):
            message = f"{option} is not UTF-8 text"
            raise UsageError(message)
    if source is not None:
        _check_source(source)
    if url is not None and not url.lower().startswith(("http://", "https://")):
        message = f"--url takes an http or https URL, not '{url}'"
        raise UsageError(message)


def _check_source(source: str) -> None:
    if not SOURCE_NAME.fullmatch(source):
        message = f"--source is a name without spaces and slashes, not '{source}'"
        raise UsageError(message)
    if len(source) > MAX_SOURCE:
        message = f"--source has {len(source)} characters, at most {MAX_SOURCE} are allowed"
        raise UsageError(message)


class _Tally:
    """Counts what goes by, tells what is wrong, and draws the progress bar on a terminal."""

    def __init__(self, total: Callable[[], int | None]) -> None:
        self.pushed = 0
        self.bytes = 0
        self.skipped = 0
        self.refused: Counter[str] = Counter()  # pages of paused sources, by why
        self.errors: list[str] = []
        self._total = total
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> None:
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("pushing", total=self._total())
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def good(self, reads: Iterator[Read]) -> Iterator[Payload]:
        """Yield the payloads that could be read; tell and count the others."""
        for read in reads:
            self.bytes += read.consumed
            if self._progress is not None and self._task is not None:
                self._progress.update(self._task, completed=self.bytes, description=f"{self.pushed:,} pushed")
            if isinstance(read.result, UsageError):
                self._tell(read.result)
            elif read.result is None:
                self.skipped += 1
            else:
                yield read.result

    def takes(self, ids: Sequence[str]) -> None:
        """Count what is in the stream."""
        self.pushed += len(ids)

    def waits(self) -> None:
        """Say on the bar why it stands still."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=f"{self.pushed:,} pushed, stream full, waiting")

    def refuse(self, error: SourcePaused, count: int) -> None:
        """Count pages that a paused source keeps from being pushed; say why, once."""
        if str(error) not in self.refused:
            warn(f"penstock: {error}")
        self.refused[str(error)] += count

    def _tell(self, error: UsageError) -> None:
        self.errors.append(str(error))
        if len(self.errors) <= MAX_TOLD:
            warn(f"penstock: {error}")


def _summary(tally: _Tally, *, json: bool) -> None:
    if len(tally.errors) > MAX_TOLD:
        warn(f"penstock: … and {len(tally.errors) - MAX_TOLD} more like these")
    if json:
        say_json(
            {
                "pushed": tally.pushed,
                "skipped": tally.skipped,
                "refused": tally.refused.total(),
                "errors": [*tally.errors, *tally.refused],
            }
        )
    else:
        refused = f", {len(tally.errors):,} could not be read" if tally.errors else ""
        skipped = f", {tally.skipped:,} records that are no pages skipped" if tally.skipped else ""
        paused = f", {tally.refused.total():,} not, as their source is paused" if tally.refused else ""
        say(f"{tally.pushed:,} pushed{paused}{skipped}{refused}")
    if tally.errors:
        raise typer.Exit(2)
    if tally.refused:
        raise typer.Exit(75)
