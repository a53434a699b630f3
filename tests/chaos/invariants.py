"""What must hold when a run is over. Each invariant is a function with a verdict: what is wrong, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.load import MOST, Told
from tests.chaos.look import Look, Row
from tests.chaos.poison import CLASSES, is_poison
from tests.chaos.product import Product
from tests.support.corpus import Push, Reference, reference
from worker.store import open_store

SHOWN = 5

# The whole store but what says when and how often something was done, which differs by design: deliveries, attempts,
# sums by the hour, the times of bookkeeping (created_at, first_failed_at, …), ids, failures that were resolved, and
# how a poison page ended its process: whether it was a limit or a signal hangs on who came first.
TABLES = {
    "page": "SELECT source, item_key, item, url, first_seen, last_seen, content_hash, head_first_seen, revisions,"
    " depth, parent FROM page",
    "revision": "SELECT source, item_key, revision.first_seen, revision.last_seen, revision.content_hash, payload_hash,"
    " parser, parser_version, title, published_at, published_raw, packed, fields, related FROM revision"
    " JOIN page ON page.id = page_id",
    "content": "SELECT content_hash, observed_at, source, item_key FROM content",
    "payload": "SELECT payload_hash, size FROM payload",
    "item": "SELECT source, item_key, item, url, host, state, depth, discovered_by, discovered_at, priority FROM item",
    "failure": "SELECT kind, source, item_key, item, url, payload_hash, size, error_class, message, fingerprint,"
    " parser, parser_version, state, observed_at FROM failure"
    " WHERE state <> 'resolved' AND source <> 'trap'",
    "poison": "SELECT kind, source, item_key, item, url, payload_hash, size, state, observed_at FROM failure"
    " WHERE state <> 'resolved' AND source = 'trap'",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an invariant holds, and what was seen."""

    name: str
    holds: bool
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What a run left."""

    product: Product
    told: Told
    pushes: Sequence[Push]
    left: Mapping[str, int]
    undisturbed: str  # URL of the store of a run without faults


def judge(end: End) -> list[Verdict]:
    """Return the verdict on each invariant."""
    truth = reference(list(end.pushes))
    look = Look(end.product.store_url)
    told = [
        ("I1 every acknowledged payload has an outcome", lambda: nothing_lost(end)),
        ("I2 effects are unique", lambda: effects_unique(end, look, truth)),
        ("I3 pages and items are what the pushes come to", lambda: items_of_pages(look, truth)),
        ("I4 only what is broken is a failure", lambda: only_broken_failed(look, truth)),
        ("I5 at rest nothing is in the stream or in a worker's hands", lambda: at_rest(end)),
        ("I6 penstock audit balances", lambda: audit_balances(end)),
        ("I7 the store equals that of a run without faults", lambda: equals_undisturbed(end, look)),
    ]
    verdicts = [_verdict(name, check) for name, check in told]
    look.close()
    return verdicts


def _verdict(name: str, check: Callable[[], tuple[Sequence[str], str]]) -> Verdict:
    wrong, seen = check()
    return Verdict(name, not wrong, "; ".join(wrong) or seen)


def nothing_lost(end: End) -> tuple[Sequence[str], str]:
    """An entry that Redis lost under our hands is no outcome, but its page was pushed again: that must have one."""
    settled = end.product.settled()
    acked, lost = end.told.acked, end.told.lost
    missing = [entry for entry in acked if entry not in settled and entry not in lost]
    done = {page for entry, (page, _) in acked.items() if entry in settled}
    pages = [str(page) for page in range(len(end.pushes)) if page not in done]
    wrong = [
        *named("acknowledged entries without an outcome", missing),
        *named("acknowledged entries that were gone while nothing had happened to Redis", end.told.vanished),
        *named("pages without an outcome", pages),
    ]
    return wrong, f"{len(acked):,} acknowledged entries, {len(lost):,} of them lost by Redis itself and pushed again"


def effects_unique(end: End, look: Look, truth: Reference) -> tuple[Sequence[str], str]:
    rows = look.number("SELECT count(*) FROM delivery")
    counted = look.number("SELECT sum(n) FROM outcome_count")
    epoch, accepted = end.product.epoch_accepted()
    by_epoch = {row[0]: int(row[1]) for row in look.rows("SELECT epoch, sum(n) FROM outcome_count GROUP BY epoch")}
    of_epoch = by_epoch.get(epoch, 0)
    revisions = Counter(row[0] for row in look.rows("SELECT item_key FROM revision JOIN page ON page.id = page_id"))
    expected = Counter({item: len(texts) for item, texts in truth.texts.items()})
    noted = {row[0]: row[1] for row in look.rows("SELECT item_key, revisions FROM page")}
    wrong = []
    if rows != counted:
        wrong.append(f"{rows:,} deliveries, but the sums say {counted:,}")
    if accepted != of_epoch and "redis_kill" not in end.told.lost.values():
        wrong.append(f"{accepted:,} payloads accepted in the last epoch, but it has {of_epoch:,} outcomes")
    wrong += named("items with too many or too few revisions", _differing(revisions, expected))
    wrong += named("pages that count their revisions wrongly", _differing(noted, expected))
    return wrong, f"{rows:,} deliveries, {len(noted):,} pages, {sum(revisions.values()):,} revisions"


def items_of_pages(look: Look, truth: Reference) -> tuple[Sequence[str], str]:
    items = {row[0] for row in look.rows("SELECT item_key FROM item")}
    pages = {row[0] for row in look.rows("SELECT item_key FROM page")}
    wrong = [
        *named("items that no page names", items - truth.named),
        *named("items that are missing", truth.named - items),
        *named("pages that nobody pushed", pages - truth.texts.keys()),
        *named("pages that are missing", truth.texts.keys() - pages),
    ]
    return wrong, f"{len(pages):,} pages name {len(items):,} items"


def only_broken_failed(look: Look, truth: Reference) -> tuple[Sequence[str], str]:
    rows = look.rows("SELECT item, error_class, state FROM failure")
    failed = {row[0] for row in rows if row[2] != "resolved"}
    for_a_while = Counter(str(row[1]) for row in rows if row[2] == "resolved")
    innocent = [f"{row[0]} ({row[1]})" for row in rows if row[2] != "resolved" and row[0] not in truth.failed]
    harmful = [f"{row[0]} ({row[1]})" for row in rows if is_poison(row[0]) and row[1] not in CLASSES]
    wrong = [
        *named("innocents that failed", innocent),
        *named("broken pages not kept", truth.failed - failed),
        *named("poison pages with another error", harmful),
    ]
    poisoned = sum(map(is_poison, failed))
    return (
        wrong,
        f"{len(failed):,} broken pages kept, {poisoned} of them poison; failed and then resolved: {dict(for_a_while)}",
    )


def at_rest(end: End) -> tuple[Sequence[str], str]:
    return [f"{count:,} {what}" for what, count in end.left.items() if count], "stream and pending lists are empty"


def audit_balances(end: End) -> tuple[Sequence[str], str]:
    """What Redis lost must be told, and no more than that; once it is acknowledged, the ledger balances.

    Less may be told than was lost by as much as was pushed just before: the ledger notes the accepted count every few
    seconds, and what came after that is known to nobody but Redis.
    """
    first = end.product.audit()
    lost, unknown = len(end.told.lost), end.told.calls["unknown"] * MOST
    difference = first["difference"] or 0
    if difference < end.told.lost_though_noted:
        return [f"{end.told.lost_though_noted:,} entries lost that had been noted, {difference:,} told: {first}"], ""
    if first["balanced"]:
        return [], f"balanced at once; {lost:,} entries lost by Redis, none of them known to the ledger"
    if not lost or difference > lost + unknown:
        return [f"not balanced: {first}"], ""
    said = end.product.acknowledge("lost by Redis, which the chaos harness flushed or killed; pushed again")
    then = end.product.audit()
    seen = f"{lost:,} entries lost by Redis, {difference:,} told and acknowledged, then balanced"
    return ([] if then["balanced"] else [f"not balanced after acknowledging: {then} ({said})"]), seen


def equals_undisturbed(end: End, look: Look) -> tuple[Sequence[str], str]:
    other = Look(end.undisturbed)
    wrong, seen = [], []
    for table, sql in TABLES.items():
        here, there = set(look.rows(sql)), set(other.rows(sql))
        wrong += named(f"rows of {table} only here", map(_short, here - there))
        wrong += named(f"rows of {table} only without faults", map(_short, there - here))
        seen.append(f"{table} {len(here):,}")
    other.close()
    wrong += named(
        "exported records that differ", _differing(_exported(end.product.store_url), _exported(end.undisturbed))
    )
    return wrong, "the same rows: " + ", ".join(seen)


def _exported(url: str) -> dict[str, Any]:
    store = open_store(url)
    found = {record["key"]: dict(record) for record in store.export()}
    store.close()
    return found


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _short(row: Row) -> str:
    return repr(row)[:300]


def named(what: str, found: Iterable[str]) -> list[str]:
    each = sorted(found)
    more = ", …" if len(each) > SHOWN else ""
    return [f"{len(each):,} {what}: {', '.join(each[:SHOWN])}{more}"] if each else []
