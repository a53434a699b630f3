"""The producing side of the page stream: a batch of payloads is one call of a script, and is in whole or not at all.

Redis decides with a script's first write whether there is room, in memory and on disk, and refuses none of those that
follow; so a batch is never half in.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from redis.exceptions import NoScriptError

from tasks.errors import PenstockError, SourcePaused, StreamFull, TooLarge
from tasks.steps.page import Payload
from tasks.steps.payload import encode_fields
from worker import stream_scripts
from worker.redis_link import mapped, run_script, sha_of

FULL_SHARE = 0.9  # of Redis' maxmemory; above it nothing is pushed
MEMORY_SECONDS = 0.5  # how long a look at Redis' memory counts

Push = Callable[[Sequence[Payload]], list[str]]


class Intake:
    """Pushes payloads onto the stream whose keys these are: stream, meta and paused."""

    def __init__(self, client: Any, keys: tuple[str, str, str], *, high_water: int, max_body: int) -> None:
        self._redis = client
        self._keys = keys
        self._high_water = high_water
        self._max_body = max_body
        self._memory_known_until = 0.0
        self._loaded = False

    def push(self, payloads: Sequence[Payload], *, compress: bool, even_paused: bool) -> list[str]:
        """See ``PageStream.push``."""
        words = self._words(payloads, compress=compress, even_paused=even_paused)
        if not payloads:
            return []
        with mapped():
            self._require_memory()
            reply = run_script(self._redis, stream_scripts.PUSH, self._keys, *words)
            return _ids(reply, self._redis.ping)

    def push_each(
        self,
        batches: Iterable[Sequence[Payload]],
        *,
        compress: bool,
        otherwise: Push,
        taken: Callable[[list[str]], None],
    ) -> None:
        """See ``PageStream.push_each``."""
        line = _Line(self._redis, otherwise, taken)
        head = ("EVALSHA", sha_of(stream_scripts.PUSH), len(self._keys), *self._keys)
        try:
            for batch in batches:
                words = self._words(batch, compress=compress, even_paused=False)
                line.finish()
                if batch:
                    line.begin(batch, self._prepare, *head, *words)
            line.finish()
        finally:
            line.close()

    def has_room(self) -> bool:
        """See ``PageStream.has_room``."""
        with mapped():
            return int(self._redis.xlen(self._keys[0])) < self._high_water

    def _words(self, payloads: Sequence[Payload], *, compress: bool, even_paused: bool) -> list[Any]:
        """Return the arguments of ``stream_scripts.PUSH``."""
        entries = [self._fields(payload, compress=compress) for payload in payloads]
        paused = "1" if even_paused else ""
        words: list[Any] = [stream_scripts.GROUP, secrets.token_hex(8), self._high_water, paused, len(entries)]
        for names, same in groupby(entries, key=tuple):
            group = list(same)
            words += (len(names), len(group), *names)
            for fields in group:
                words += fields.values()
        return words

    def _fields(self, payload: Payload, *, compress: bool) -> dict[str | bytes, bytes]:
        if len(payload.body) > self._max_body:
            message = f"the body has {len(payload.body)} bytes, the limit is {self._max_body}"
            raise TooLarge(message, source=payload.source, item=payload.item)
        return encode_fields(payload, compress=compress)

    def _prepare(self) -> None:
        """Make sure that Redis has the script, and room."""
        if not self._loaded:
            self._redis.script_load(stream_scripts.PUSH)
            self._loaded = True
        self._require_memory()

    def _require_memory(self) -> None:
        """Refuse while Redis is nearly full. At its very limit Celery's own messages would not pass any more."""
        if time.monotonic() < self._memory_known_until:
            return
        info = self._redis.info("memory")
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        if limit and used > FULL_SHARE * limit:
            raise StreamFull(f"Redis uses {used:,} of its {limit:,} bytes of memory; push again later")
        self._memory_known_until = time.monotonic() + MEMORY_SECONDS


class _Line:
    """Sends one batch at a time and does not wait for the answer; what is refused is pushed ``otherwise``."""

    def __init__(self, client: Any, otherwise: Push, taken: Callable[[list[str]], None]) -> None:
        self._redis = client
        self._otherwise = otherwise
        self._taken = taken
        self._connection: Any = None  # while a batch is under way on it
        self._batch: Sequence[Payload] = ()

    def begin(self, batch: Sequence[Payload], prepare: Callable[[], None], *command: Any) -> None:
        """Send a batch."""
        try:
            with mapped():
                prepare()
                self._connection = self._redis.connection_pool.get_connection()
                self._connection.send_command(*command)
        except StreamFull:
            self._taken(self._otherwise(batch))
        else:
            self._batch = batch

    def finish(self) -> None:
        """Wait for the answer to the batch that is under way."""
        if not self._batch:
            return
        batch = self._batch
        try:
            ids = self._answer()
        except (NoScriptError, SourcePaused, StreamFull):
            ids = self._otherwise(batch)
        self._taken(ids)

    def close(self) -> None:
        """Count what is under way, since the next batch was not to be had."""
        if self._batch:
            with suppress(PenstockError, NoScriptError):
                self._taken(self._answer())
        self._release()

    def _answer(self) -> list[str]:
        self._batch = ()
        with mapped():
            try:
                reply = self._connection.read_response()
            finally:
                self._release()
            return _ids(reply, self._redis.ping)

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._redis.connection_pool.release(connection)


def _ids(reply: Sequence[bytes], ping: Callable[[], object]) -> list[str]:
    """Return the ids of what was pushed, when Redis has written it to its file, too.

    It writes the file before it answers, but answers the same when that failed; from then on it refuses writes, and
    PING. Asking in the same pipeline would be too early. (A write that Redis puts off because its disk is busy may
    still fail after this; only WAITAOF of Redis 7.2 or appendfsync always close that gap.)
    """
    _require_unpaused(reply)
    ping()
    return [entry_id.decode() for entry_id in reply]


def _require_unpaused(reply: Sequence[bytes]) -> None:
    if reply[0] == b"PAUSED":
        source, reason = (word.decode(errors="replace") for word in reply[1:])
        message = (
            f"the source {source} is paused: {reason}. When that is mended, run 'penstock sources resume {source}' "
            "and push again"
        )
        raise SourcePaused(message, source=source)
