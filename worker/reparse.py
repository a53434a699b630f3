"""Today's parsers over the bytes of the pages that are stored: what would differ, and, if wanted, made so.

Nothing is fetched and nothing goes over the stream. The pages come in chunks, each of which is committed by itself, so
that a reparse that was ended goes on when it is started again: what today's parsers have understood is passed over.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tasks.errors import Permanent
from tasks.steps.page import PageResult, Payload
from worker.store import Change, PageFilter, Present, Reparsed

ROUNDS: Final = 5  # how often a page is looked at again that workers changed in the meantime


class State(enum.StrEnum):
    """What became of a page."""

    EQUAL = Change.EQUAL.value
    FIELDS = Change.FIELDS.value
    CONTENT = Change.CONTENT.value
    FAILED = "failed"  # today's parsers do not understand it; it stays as it is
    NO_BYTES = "without_bytes"
    BUSY = "changed_meanwhile"  # by a worker, each time that it was looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One page that was looked at."""

    key: str
    state: State
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict, repr=False)  # old and new value by field
    error: Permanent | None = None

    @property
    def differs(self) -> bool:
        """Whether there is anything to say of it."""
        return self.state is not State.EQUAL

    @property
    def is_other(self) -> bool:
        """Whether today's parsers understand something else."""
        return self.state in {State.FIELDS, State.CONTENT}

    def record(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        fields = {name: {"old": old, "new": new} for name, (old, new) in self.differences.items()}
        record = {"key": self.key, "state": str(self.state), "fields": fields}
        if self.error is None:
            return record
        return {**record, "error_class": self.error.error_class, "message": self.error.message}


class ReparseStore(Protocol):
    """What a reparse needs of the store."""

    def present_revisions(self, where: PageFilter) -> Iterator[list[Present]]:
        """Yield the present revisions of pages with their bytes."""

    def present_revisions_of(self, page_ids: Sequence[int]) -> list[Present]:
        """Return the present revisions of these pages."""

    def reparse_begins(self, told: Mapping[str, Any], *, now: int) -> int:
        """Write down that a reparse was started."""

    def commit_reparse(self, parsed: Sequence[Reparsed], *, action: int, now: int) -> list[int]:
        """Store what second parses came to; return the pages that changed meanwhile."""


class Reparse:
    """One reparse. ``understand`` may raise ``Permanent``; without ``action`` nothing is stored."""

    def __init__(
        self,
        store: ReparseStore,
        understand: Callable[[Payload], PageResult],
        *,
        now: Callable[[], int],
        action: int | None = None,
    ) -> None:
        self._store = store
        self._understand = understand
        self._now = now
        self._action = action

    def run(self, where: PageFilter, limit: int | None = None) -> Iterator[Looked]:
        """Yield each page when it is done with; ``limit`` counts those that were understood.

        Pages that fail, or have no bytes, are not counted: they would be the first ones again the next time.
        """
        left = limit
        for chunk in self._store.present_revisions(where):
            rest = chunk
            while rest and left != 0:
                some, rest = rest[:left], rest[len(rest[:left]) :]
                for one in self._chunk(some):
                    if left is not None and one.state not in {State.FAILED, State.NO_BYTES}:
                        left -= 1
                    yield one
            if left == 0:
                return

    def _chunk(self, presents: Sequence[Present]) -> Iterator[Looked]:
        """Parse pages, store what changed, and yield them in their order; last those that would not hold still."""
        for _ in range(ROUNDS):
            parsed = {present.page_id: self._parsed(present) for present in presents}
            changed, refused = self._commit([one for one in parsed.values() if isinstance(one, Reparsed)])
            for page_id, one in parsed.items():
                if page_id not in changed:
                    yield one if isinstance(one, Looked) else _looked(one, refused.get(page_id))
            if not changed:
                return
            presents = self._store.present_revisions_of(sorted(changed))
        yield from (Looked(key="/".join(one.identity), state=State.BUSY) for one in presents)

    def _parsed(self, present: Present) -> Reparsed | Looked:
        key = "/".join(present.identity)
        if present.payload is None:
            return Looked(key=key, state=State.NO_BYTES)
        try:
            return Reparsed.of(present, self._understand(present.payload))
        except Permanent as error:
            return Looked(key=key, state=State.FAILED, error=error)

    def _commit(self, parsed: Sequence[Reparsed]) -> tuple[set[int], dict[int, Permanent]]:
        """Store a chunk; return the pages that changed meanwhile, and those that the store refuses for good.

        Where it refuses the chunk, it is stored page by page, so that one page fails itself only.
        """
        if self._action is None or not parsed:
            return set(), {}
        try:
            return set(self._store.commit_reparse(parsed, action=self._action, now=self._now())), {}
        except Permanent as error:
            if len(parsed) == 1:
                return set(), {parsed[0].present.page_id: error}
        changed: set[int] = set()
        refused: dict[int, Permanent] = {}
        for one in parsed:
            own_changed, own_refused = self._commit([one])
            changed |= own_changed
            refused |= own_refused
        return changed, refused


class Summary:
    """What a reparse came to, in numbers."""

    def __init__(self) -> None:
        self.states: Counter[State] = Counter()
        self.fields: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def add(self, one: Looked) -> None:
        """Count a page."""
        self.states[one.state] += 1
        self.fields.update(one.differences.keys())
        if one.error is not None:
            self.errors[one.error.error_class] += 1

    def record(self) -> dict[str, Any]:
        """Return the numbers under their names; of fields and error classes, those that occurred."""
        return {
            "pages": self.states.total(),
            **{str(state): self.states[state] for state in State},
            "by_field": dict(sorted(self.fields.items())),
            "by_error_class": dict(sorted(self.errors.items())),
        }


def _looked(one: Reparsed, refused: Permanent | None) -> Looked:
    key = "/".join(one.present.identity)
    if refused is not None:
        return Looked(key=key, state=State.FAILED, error=refused)
    return Looked(key=key, state=State(one.change.value), differences=one.differences)
