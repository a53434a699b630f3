"""How long to wait before the next attempt."""

from __future__ import annotations

_MAX_DOUBLINGS = 40  # beyond that any base is above any cap


def backoff_us(attempt: int, *, base_us: int, cap_us: int, draw: float) -> int:
    """Return an exponential delay with full jitter, in microseconds.

    ``attempt`` counts the failed attempts before this one, from 0; ``draw`` is uniform in [0, 1). The delay is uniform
    between 0 and ``min(cap_us, base_us * 2 ** attempt)``, which spreads a herd best:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap_us, base_us << min(max(attempt, 0), _MAX_DOUBLINGS))
    return int(ceiling * draw)
