"""A page read with its source's profile, and nothing stored: its fields, where they stood, and what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from tasks.errors import Permanent
from tasks.steps.page import ItemState, PageResult, Payload, SourceProfile
from tasks.steps.parse.origins import Origins, origins_of
from tasks.steps.related import ids_of
from tasks.steps.understand import understand
from worker.field_tables import Sample

FIELDS: Final = (
    "title", "published_at", "modified_at", "authors", "section", "tags", "language", "wire_service", "desk_code",
    "canonical_url", "image", "paragraphs", "related", "outlinks",
)  # fmt: skip
_NO_ORIGINS: Final = Origins({}, ())


class Difference(NamedTuple):
    """A field that is not as its sample says."""

    name: str
    expected: Any
    found: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of a page: its result and where its fields stood, or the error."""

    profile: SourceProfile
    result: PageResult | None = field(default=None, repr=False)
    origins: Origins = _NO_ORIGINS
    error: Permanent | None = None

    def record(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        about = {"source": self.profile.name, "profile_version": self.profile.version}
        if self.result is None:
            error = self.error or Permanent()
            parser = error.details.get("parser")
            return {
                **about,
                "outcome": "failed",
                "parser": parser,
                "error_class": error.error_class,
                "message": str(error),
            }
        page = self.result.page
        return {
            **about,
            "outcome": "parsed",
            "parser": page.parser,
            "parser_version": page.parser_version,
            "tier": page.tier,
            "key": f"{self.profile.name}/{self.result.item_key}",
            "published_raw": page.published_raw,
            "fields": {
                name: {"value": _plain(getattr(page, name)), "origin": self.origins.fields.get(name)} for name in FIELDS
            },
            "problems": list(self.origins.problems),
            "follow_ups": self.follow_ups(),
        }

    def follow_ups(self) -> dict[str, int]:
        """Return how many related items would be fetched, are beyond the source's bounds, and lead nowhere."""
        states = Counter(one.state for one in self.result.discovered) if self.result else Counter[ItemState]()
        return {str(state): states[state] for state in (ItemState.DUE, ItemState.BOUNDED, ItemState.UNROUTABLE)}

    def differences(self, sample: Sample) -> list[Difference]:
        """Return the fields that are not as a sample says; of a page that failed, all that it says."""
        page = self.result.page if self.result else None
        pairs = [(name, expected, getattr(page, name, None)) for name, expected in sample.expected.items()]
        return [
            Difference(name, expected, _plain(found)) for name, expected, found in pairs if not _is(found, expected)
        ]


def tried(payload: Payload, profile: SourceProfile, limits: AbstractContextManager[None]) -> Trial:
    """Read a page within limits. Raises nothing that the page can bring about."""
    try:
        with limits:
            result = understand(payload, profile)
            return Trial(profile=profile, result=result, origins=origins_of(result.page, payload, profile))
    except Permanent as error:
        return Trial(profile=profile, error=error)


def _is(found: Any, expected: str | int | Sequence[str]) -> bool:
    """Tell whether a field is what a sample says: a text, texts, or the number of them; an empty one is none at all."""
    if isinstance(found, datetime):
        return isinstance(expected, str) and _moment(expected) == found
    if found is None or isinstance(found, str):
        return (found or "") == expected or (not found and not expected)
    texts = list(found) if all(isinstance(one, str) for one in found) else list(ids_of(found))
    if isinstance(expected, int):
        return len(texts) == expected
    return texts == ([expected] if isinstance(expected, str) and expected else list(expected))


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _plain(value: Any) -> Any:
    """Return a field as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
