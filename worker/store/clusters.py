"""Clusters of pages whose present texts are nearly the same, as far as their texts have been compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tasks.steps.dedupe import Identity
from tasks.steps.similar import similarity
from worker.store import clean
from worker.store.driver import Transaction, statement
from worker.store.pages import IS_HEAD

MOST_MEMBERS: Final = 100  # of a cluster that are told: those that were seen first

_SHARED: Final = statement(
    """SELECT near_text.content, near_text.cluster FROM {rows} JOIN near_text ON near_text.content = r.content
    WHERE near_text.cluster <> near_text.content
      OR EXISTS (SELECT 1 FROM near_text AS o WHERE o.cluster = r.content AND o.cluster <> o.content)""",
    content="int",
)
_MEMBER: Final = f"""SELECT page.source, page.item_key, page.first_seen, page.content_hash, revision.title,
    near_text.content, near_text.sketch
  FROM near_text JOIN page ON substr(page.content_hash, 3, 12) = near_text.head
    JOIN revision ON revision.page_id = page.id AND {IS_HEAD}"""  # noqa: S608 (constant)
_MEMBERS: Final = f"""SELECT * FROM ({_MEMBER} WHERE near_text.content = ?
    UNION ALL {_MEMBER} WHERE near_text.cluster = ? AND near_text.cluster <> near_text.content) AS member
  ORDER BY first_seen, source, item_key LIMIT ?"""  # noqa: S608 (constants)
_TEXT: Final = "SELECT cluster, sketch FROM near_text WHERE content = ?"


class Member(NamedTuple):
    """A page of a cluster, in its present state."""

    identity: Identity
    first_seen: int
    content_hash: str
    title: str | None
    sketch: bytes

    @property
    def key(self) -> str:
        """The page's key, as records have it."""
        return "/".join(self.identity)


def near_duplicates(tx: Transaction, shown: Mapping[Identity, str]) -> dict[Identity, list[str]]:
    """Return the keys of the pages with nearly the text of each page; ``shown`` is the content that it is shown with.

    Those with the very same text are not among them: ``duplicate_of`` tells.
    """
    numbers = {identity: clean.number_of(content) for identity, content in shown.items()}
    shared: dict[int, int] = dict(tx.read(_SHARED, [(one,) for one in sorted(set(numbers.values()))]))
    found = {one: members(tx, one) for one in sorted(set(shared.values()))}
    near = {identity: found[shared[number]] for identity, number in numbers.items() if number in shared}
    return {
        identity: [
            one.key
            for one in near.get(identity, ())
            if one.identity != identity and one.content_hash != shown[identity]
        ]
        for identity in shown
    }


def members(tx: Transaction, cluster: int) -> list[Member]:
    """Return the pages of a cluster; its representative, the page that was seen first, is the first one."""
    rows = tx.run(_MEMBERS, cluster, cluster, MOST_MEMBERS)
    return [
        Member(Identity(*row[:2]), row[2], row[3], row[4], bytes(row[6]))
        for row in rows
        if clean.number_of(row[3]) == row[5]  # the index of pages has a part of the hash
    ]


def similar(tx: Transaction, of: Identity, content: str) -> dict[str, Any]:
    """Return the cluster of a page with this content: each of its pages, and its similarity to this one.

    Without members, and ``compared`` false, where the text is too short to tell or has not been compared yet.
    """
    stored = tx.run(_TEXT, clean.number_of(content))
    found = members(tx, stored[0][0]) if stored else []
    return {
        "key": "/".join(of),
        "compared": bool(stored),
        "representative": found[0].key if found else None,
        "members": [
            {
                "key": one.key,
                "title": one.title,
                "similarity": 1.0 if one.content_hash == content else _rounded(one.sketch, bytes(stored[0][1])),
                "first_seen": clean.rfc3339(one.first_seen),
                "representative": one is found[0],
            }
            for one in found
        ],
    }


def _rounded(one: bytes, other: bytes) -> float:
    return round(similarity(one, other), 3)
