"""The connection to Redis, and what its errors are called here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
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
    if text.startswith("MISCONF"):
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
