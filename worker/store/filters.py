"""Which failures an operator means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker.store import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFilter:
    """Failures that have all of this; None means any. ``item`` is an item ID, item key or URL; times in µs."""

    source: str | None = None
    error_class: str | None = None
    fingerprint: str | None = None
    parser: str | None = None  # "none": no parser was found for it
    state: str | None = None  # waiting, dead, resolved, dropped
    item: str | None = None
    ids: tuple[int, ...] | None = None
    since: int | None = None  # failed last at or after
    until: int | None = None  # failed last before

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition, and its parameters."""
        tests = ["true"]
        parameters: list[Any] = []
        for column in ("source", "error_class", "fingerprint", "parser", "state"):
            value = getattr(self, column)
            if value is not None:
                tests.append(f"failure.{column} = ?")
                parameters.append(clean.text(value))
        if self.item is not None:
            tests.append("(failure.item_key = ? OR failure.item = ? OR failure.url = ?)")
            parameters += [clean.key(self.item), clean.text(self.item), clean.text(self.item)]
        if self.ids is not None:
            tests.append(f"failure.id IN ({', '.join('?' for _ in self.ids) or 'NULL'})")
            parameters += list(self.ids)
        if self.since is not None:
            tests.append("failure.last_failed_at >= ?")
            parameters.append(self.since)
        if self.until is not None:
            tests.append("failure.last_failed_at < ?")
            parameters.append(self.until)
        return " AND ".join(tests), parameters

    def told(self) -> dict[str, Any]:
        """Return what is set, for the record of an action."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}
