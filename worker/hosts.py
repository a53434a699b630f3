"""The gate that all workers share: when the next request to a host may start."""

from __future__ import annotations

from typing import cast

import redis

from tasks.errors import StreamUnavailable

# Books the host's next slot and returns the microseconds until it starts. A slot that starts after ARGV[2] is returned
# but not booked, so that an item which goes back to the frontier does not hold the host's time.
# Redis' own clock counts, so that the workers' clocks need not agree. A Lua number is a double: %.0f prints it whole.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free = tonumber(redis.call('GET', KEYS[1]) or '0')
local start = math.max(now, free)
local wait = start - now
if wait <= tonumber(ARGV[2]) then
  local next_free = start + tonumber(ARGV[1])
  redis.call('SET', KEYS[1], string.format('%.0f', next_free), 'PX', math.ceil((next_free - now) / 1000) + 1000)
end
return wait
"""


class HostGate:
    """Spaces the requests to one host over all processes that use the same Redis and namespace.

    Keys: ``<namespace>:host:<host>``, the time in microseconds from which the host is free; each expires by itself.
    """

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._script = client.register_script(_RESERVE)
        self._namespace = namespace

    def reserve(self, host: str, *, delay_us: int, max_wait_us: int) -> int:
        """Book the next slot of ``host`` and return how many microseconds away it is; one round trip.

        The slot after it starts ``delay_us`` later. An answer above ``max_wait_us`` means that nothing was booked.
        Raises ``StreamUnavailable`` when Redis does not answer.
        """
        try:
            answer = self._script(keys=[f"{self._namespace}:host:{host}"], args=[delay_us, max_wait_us])
        except redis.RedisError as error:
            message = f"Redis did not give a slot for the host {host}: {error}"
            raise StreamUnavailable(message, host=host) from error
        return cast("int", answer)
