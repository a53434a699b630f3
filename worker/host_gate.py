"""The gate that all workers share: when the next requests to a host may start, and how many at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, cast

import redis

from tasks.errors import StreamFull, StreamUnavailable
from tasks.fetch_ports import Answered, Grant, HostPause, HostView, Slot, SlotEnd, Wanted, WhyLess
from tasks.steps.clocks import offset_us
from worker import host_scripts
from worker.redis_link import mapped, run_script

_WHY: Mapping[bytes, WhyLess] = {
    b"": "",
    b"pace": "pace",
    b"concurrency": "concurrency",
    b"paused": "paused",
    b"down": "down",
}
_REASONS: Mapping[bytes, Literal["asked", "down"]] = {b"asked": "asked", b"down": "down"}
_BREAKERS: Mapping[bytes, Literal["closed", "open", "probing"]] = {
    b"closed": "closed",
    b"open": "open",
    b"probing": "probing",
}


class HostGate:
    """Implements ``tasks.fetch_ports.Gate`` in Redis; each call is one round trip, whatever the number of hosts.

    Keys, with one hash tag so that they share a slot: ``{ns}:hosts:since``, ``{ns}:host:<host>`` and
    ``{ns}:slots:<host>``; see ``host_scripts``. Those of a host expire when they say nothing any more. When Redis is
    flushed, the first request to each host waits for all that may have been granted before, and its delay; but how many
    were under way is forgotten.

    Redis' clock counts; what comes in and goes out is on ours, ``now_us``. A slot that is not reported within
    ``lease_us`` of its start is free again: give it longer than a request may take. ``draw`` is uniform in [0, 1).
    """

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        *,
        lease_us: int,
        now_us: Callable[[], int],
        draw: Callable[[], float],
    ) -> None:
        self._redis = client
        self._prefix = f"{{{namespace}}}"
        self._lease_us = lease_us
        self._now_us = now_us
        self._draw = draw
        self._offset = 0
        self._ahead_us = 0  # the farthest that a slot was asked for, and so may be held by a worker

    def admit(self, wanted: Sequence[Wanted], *, horizon_us: int) -> list[Grant]:
        """Grant slots that start within ``horizon_us``, at most a minute, in one call; see ``Gate``."""
        if not wanted:
            return []
        horizon_us = min(horizon_us, host_scripts.FARTHEST)
        args: list[Any] = [secrets.token_hex(6), horizon_us, self._ahead_us, self._lease_us]
        now = self._now_us()
        for one in wanted:
            args += [one.count, one.delay_us, one.concurrency, max(one.until - now, 0)]
        keys = [f"{self._prefix}:hosts:since", *self._keys([one.host for one in wanted])]
        answers = self._run(host_scripts.ADMIT, keys, args)
        self._ahead_us = max(self._ahead_us, horizon_us)
        return [self._grant(one.host, *answer) for one, answer in zip(wanted, answers, strict=True)]

    def report(self, ended: Sequence[SlotEnd]) -> list[HostPause]:
        """Give slots back and learn from how they were used; see ``Gate``."""
        if not ended:
            return []
        in_order = sorted(ended, key=_last_granted_first)
        args: list[Any] = [self._draw()]
        for one in in_order:
            args += [one.slot.token, str(one.how), one.latency_us, one.late_us, one.retry_after_us]
        answers = self._run(host_scripts.REPORT, self._keys([one.slot.host for one in in_order]), args)
        return [
            HostPause(in_order[at - 1].slot.host, until + self._offset, _REASONS[reason])
            for at, until, reason in answers
        ]

    def look(self, hosts: Collection[str]) -> Mapping[str, HostView]:
        """Return how hosts stand; those of which nothing is known are left out."""
        if not hosts:
            return {}
        names = list(hosts)
        answers = self._run(host_scripts.LOOK, self._keys(names), [])
        return {name: self._view(name, *answer) for name, answer in zip(names, answers, strict=True) if answer}

    def _keys(self, hosts: Sequence[str]) -> list[str]:
        return [f"{self._prefix}:{kind}:{host}" for host in hosts for kind in ("host", "slots")]

    def _run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Run a script, compare clocks, and return its answers."""
        asked = self._now_us()
        try:
            with mapped():
                told, *answers = cast("list[Any]", run_script(self._redis, script, keys, *args))
        except StreamFull as error:
            raise StreamUnavailable(f"Redis does not keep the pace of hosts: {error}") from error
        self._offset = offset_us(self._offset, asked=asked, told=told, answered=self._now_us())
        return answers

    def _grant(self, host: str, reason: bytes, again: int, *granted: Any) -> Grant:
        pairs = zip(granted[::2], granted[1::2], strict=True)
        slots = tuple(Slot(host, token.decode(), start + self._offset) for token, start in pairs)
        return Grant(host, slots, _WHY[reason], again + self._offset if again else 0)

    def _view(self, host: str, next_at: int, until: int, breaker: bytes, *numbers: int) -> HostView:
        delay_us, latency_us, under_way, failures = numbers
        return HostView(
            host=host,
            next_at=next_at + self._offset,
            delay_us=delay_us,
            latency_us=latency_us,
            under_way=under_way,
            failures=failures,
            breaker=_BREAKERS[breaker],
            until=until + self._offset if until else 0,
        )


def _last_granted_first(end: SlotEnd) -> int:
    """Order unused slots from the last granted on: given back, each leaves the one before it as the last."""
    return -int(end.slot.token.split(":")[1]) if end.how is Answered.UNUSED else 0
