"""The connection to Redis, and what its errors are called here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from tasks.errors import StreamFull, StreamUnavailable

DISK_FULL = "Redis cannot write its file, its disk may be full: nothing is taken in; push the last pages again later"
# What a server says that is busy, starting, a replica, or was flushed under our hands.
_PASSING = ("BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "TRYAGAIN", "UNBLOCKED")
MEMORY_FULL = "Redis is out of memory and refuses new pages; push again when the workers have caught up"


def connect(url: str) -> redis.Redis:
    """Open a client that never retries by itself: a silent retry of XADD doubles a page, one of a read hangs."""
    return redis.Redis.from_url(
        url,
        socket_timeout=10,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
        client_name="penstock",
    )


def run_script(client: Any, text: str, keys: Sequence[str], *args: Any) -> Any:
    """Run a Lua script by its hash; send its text only to a server that does not know it yet."""
    try:
        return client.evalsha(sha_of(text), len(keys), *keys, *args)
    except NoScriptError:
        return client.eval(text, len(keys), *keys, *args)


@cache
def sha_of(text: str) -> str:
    """Return the name that Redis knows a script by."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def mapped() -> Iterator[None]:
    """Turn Redis' errors into ours."""
    try:
        yield
    except redis.OutOfMemoryError as error:
        raise StreamFull(MEMORY_FULL) from error
    except redis.ResponseError as error:
        known = _answer(str(error))
        if known is None:
            raise
        raise known from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise StreamUnavailable(f"Redis does not answer: {error}") from error


def _answer(text: str) -> StreamFull | StreamUnavailable | None:
    """Return our error for what a server says that answers; None for a fault of our commands."""
    if "MISCONF" in text:  # not at its beginning where it is a script whose write was refused
        return StreamFull(DISK_FULL)
    if "READONLY" in text:
        return StreamUnavailable(f"Redis takes no writes: {text}")
    if "FULL the stream" in text:
        return StreamFull("the stream is above its high-water mark; push again later")
    if "OOM" in text:
        return StreamFull(MEMORY_FULL)
    if text.startswith(_PASSING):
        return StreamUnavailable(f"Redis does not serve just now: {text}")
    return None
