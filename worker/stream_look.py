"""What an audit reads of the page stream beyond its counters: serial numbers, and who holds what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.stream_scripts import GROUP, PARKED

MOST_HELD = 10_000
CHUNK = 100  # entries of one call; Redis copies their bodies, of up to 8 MiB each, for itself

# The ids of the next entries, each with its field _epoch and without its body. KEYS: stream. ARGV: start, count.
NUMBERS = """
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  found[#found + 1], found[#found + 2] = entry[1], ''
  for at = 1, #entry[2], 2 do
    if entry[2][at] == '_epoch' then found[#found] = entry[2][at + 1] end
  end
end
return found
"""


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that a consumer has, and for how long it has had it."""

    entry: str
    consumer: str
    idle_seconds: float
    deliveries: int


def numbers(client: Any, key: str) -> Iterator[tuple[str, bytes]]:
    """Yield each entry's id and what its field ``_epoch`` says, oldest first; empty for a bare XADD."""
    start = "-"
    while flat := client.eval(NUMBERS, 1, key, start, CHUNK):
        yield from ((name.decode(), told) for name, told in zip(flat[::2], flat[1::2], strict=True))
        start = f"({flat[-2].decode()}"


def held(client: Any, key: str, *, idle_ms: int | None = None, limit: int = MOST_HELD) -> list[Held]:
    """Return what the consumers have, for at least ``idle_ms``, oldest first."""
    return _pending(client, key, GROUP, idle_ms, limit)


def parked_again(client: Any, key: str, *, limit: int = MOST_HELD) -> list[str]:
    """Return the entries that were delivered before they were parked, and so may have their outcome already."""
    return [one.entry for one in _pending(client, key, PARKED, None, limit) if one.deliveries]


def _pending(client: Any, key: str, group: str, idle_ms: int | None, limit: int) -> list[Held]:
    rows = client.xpending_range(key, group, min="-", max="+", count=limit, idle=idle_ms)
    return [
        Held(
            row["message_id"].decode(),
            row["consumer"].decode(errors="replace"),
            row["time_since_delivered"] / 1000,
            row["times_delivered"],
        )
        for row in rows
    ]
