"""Items that an operator wants to be fetched again: those of a source, a portion at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tasks.steps.canonical import envelope_identity
from tasks.steps.dedupe import Identity
from tasks.steps.page import Payload
from worker.store import clean, identities
from worker.store.driver import Row, Transaction, statement

PORTION: Final = 1000  # items that are made due in one transaction

_DUE: Final = statement(
    """UPDATE item SET state = 'due', next_fetch_at = r.now, attempts = 0
    FROM {rows} WHERE item.source = r.source AND item.item_key = r.item_key AND item.state IN ('fetched', 'gone')""",
    source="text",
    item_key="text",
    now="int",
)
# A page's item is looked at when it is fetched, and also whenever somebody pushes the page.
_NOT_SINCE: Final = """coalesce(item.checked_at, item.pushed_at, item.discovered_at) < ? AND NOT EXISTS (
  SELECT 1 FROM page WHERE page.source = item.source AND page.item_key = item.item_key AND page.last_seen >= ?)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Items of a source whose pages are stored. Times in µs."""

    source: str
    older_than: int | None = None  # not looked at since
    item_keys: tuple[str, ...] | None = None  # only these
    gone: bool = False  # also those that were not there any more

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition, and its parameters."""
        states = "('fetched', 'gone')" if self.gone else "('fetched')"
        tests = ["item.source = ?", f"item.state IN {states}"]
        parameters: list[Any] = [clean.key(self.source, clean.SOURCE_BYTES)]
        if self.older_than is not None:
            tests.append(_NOT_SINCE)
            parameters += [self.older_than] * 2
        if self.item_keys is not None:
            tests.append(f"item.item_key IN ({', '.join('?' for _ in self.item_keys) or 'NULL'})")
            parameters += self.item_keys
        return " AND ".join(tests), parameters

    def told(self) -> dict[str, Any]:
        """Return what is set, for the record of the order."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value}


class Candidate(NamedTuple):
    """An item that the filter finds."""

    identity: Identity
    item: str | None
    url: str | None

    def leads_back(self) -> bool:
        """Tell whether what is fetched there comes in under the same key.

        Not so where a page at another URL declared this one as its own: that other item is the one to fetch.
        """
        source, item_key = self.identity
        key = envelope_identity(Payload(source=source, body=b"", item=self.item, url=self.url))
        return self.url is not None and key is not None and clean.key(key) == item_key


def keys_of(tx: Transaction, source: str, name: str) -> list[str]:
    """Return the item keys that an item ID or a URL means within a source."""
    found = [*identities.find(tx, f"{source}/{name}"), *identities.find(tx, name)]
    return sorted({item_key for of, item_key in found if of == source})


def found(tx: Transaction, where: ItemFilter, after: str) -> list[Candidate]:
    """Return the next items after a key."""
    condition, parameters = where.where()
    rows = tx.run(
        f"""SELECT source, item_key, item, url FROM item WHERE {condition} AND item.item_key > ?
        ORDER BY item_key LIMIT {PORTION}""",  # noqa: S608 (conditions are constants, values are bound)
        *parameters,
        after,
    )
    return [Candidate(Identity(*row[:2]), *row[2:]) for row in rows]


def begin(tx: Transaction, where: ItemFilter, *, note: str, who: str, now: int) -> int:
    """Put an order on record; return the id of the row, which then counts the items."""
    row: Row = (now, clean.to_json(where.told()), clean.text(note, clean.MESSAGE_CHARS), clean.text(who, 100))
    rows = tx.run(
        """INSERT INTO operator_action (at, action, filter, count, note, who) VALUES (?, 'recrawl', ?, 0, ?, ?)
        RETURNING id""",
        *row,
    )
    return int(rows[0][0])


def make_due(tx: Transaction, chosen: Sequence[Candidate], *, action: int, now: int) -> int:
    """Make items due; return how many, without those that something has happened to meanwhile."""
    count = tx.write(_DUE, [(*one.identity, now) for one in chosen])
    tx.run("UPDATE operator_action SET count = count + ? WHERE id = ?", count, action)
    return count


def fetchable(candidates: Iterable[Candidate], may_fetch: Callable[[str], bool]) -> list[Candidate]:
    """Return the items that can be fetched again."""
    return [one for one in candidates if one.leads_back() and one.url is not None and may_fetch(one.url)]
