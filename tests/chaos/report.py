"""What a run is told as: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.faults import BLOCKING, Site
from tests.chaos.invariants import Verdict
from tests.chaos.load import Load
from tests.chaos.run import Course
from tests.chaos.system import GRACE_SECONDS, Group

RECOVERY_SECONDS = 60.0
ABOUT = (
    "Time to recover: from a fault's end to the next commit, without the time in which another fault kept all from "
    "going on."
)
UNEXPECTED = re.compile(r"raised unexpected: (.{1,160})")
TARGETS = ("child", "sandbox", "group", "redis", "postgresql", "backend")


def verdicts_of_course(course: Course, site: Site) -> list[Verdict]:
    """Return the verdicts on what happened, beside those on what was left."""
    slow = [one for one in course.happened if not one.skipped and (one.recovery or 0) > RECOVERY_SECONDS]
    never = [one for one in course.happened if not one.skipped and one.recovery is None]
    worst = max((one.recovery or 0.0 for one in course.happened), default=0.0)
    wrong = [f"{one.fault.kind} at {one.fault.at:.0f} s: {one.recovery or 0:.0f} s" for one in slow]
    wrong += [f"{one.fault.kind} at {one.fault.at:.0f} s: none until the end" for one in never]
    stops = [seconds for group in site.workers.groups for seconds in group.stop_seconds]
    late = [f"{seconds:.0f} s" for seconds in stops if seconds > GRACE_SECONDS]
    codes = [code for group in site.workers.groups for code in group.ended_by_itself]
    bugs = bugs_of(site.workers.groups)
    alone = f"{len(codes)} ended by themselves, with exit codes {codes}" if codes else "none ended by itself"
    seen = f"{len(stops)} stops, the longest took {max(stops, default=0):.1f} s"
    return [
        Verdict(
            "P1 progress within a minute of each fault's end", not wrong, "; ".join(wrong) or f"worst {worst:.1f} s"
        ),
        Verdict("P2 SIGTERM ends a worker within its grace period", not late, "; ".join(late) or seen),
        Verdict("P3 no fault ends a worker", not codes, alone),
        Verdict("P4 no task raised what is not an error of penstock", not bugs, "; ".join(bugs) or "none did"),
    ]


def bugs_of(groups: Sequence[Group]) -> list[str]:
    """Return what the workers' logs say of errors that nobody expected."""
    found: Counter[str] = Counter()
    for group in groups:
        for line in group.log.read_text(errors="replace").splitlines():
            if match := UNEXPECTED.search(line):
                found[match[1]] += 1
    return [f"{count} times {what}" for what, count in found.most_common(5)]


def summary(
    course: Course, site: Site, load: Load, verdicts: Sequence[Verdict], *, pipeline: str, **more: Any
) -> dict[str, Any]:
    """Return the report as one JSON object."""
    told, options = load.told, course.options
    return {
        "pipeline": pipeline,
        "store": options.store,
        "seed": options.seed,
        "seconds": options.seconds,
        "pages_per_second": options.rate,
        "holds": all(one.holds for one in verdicts),
        "kills": {target: site.kills[target] for target in TARGETS if site.kills.get(target)},
        "kills_in_all": sum(site.kills.values()),
        "faults": _faults(course),
        "skipped": dict(Counter(one.fault.kind for one in course.happened if one.skipped)),
        "producer": {
            "pages": load.begun,
            "acknowledged_entries": len(told.acked),
            "calls": dict(told.calls),
            "lost_by_redis": dict(Counter(told.lost.values())),
            "vanished": len(told.vanished),
        },
        "rest_seconds": course.rest_seconds,
        "stop_seconds": sorted(round(one, 2) for group in site.workers.groups for one in group.stop_seconds),
        "verdicts": [{"name": one.name, "holds": one.holds, "seen": one.seen} for one in verdicts],
        **more,
    }


def _faults(course: Course) -> dict[str, dict[str, Any]]:
    by_kind: dict[str, list[float | None]] = defaultdict(list)
    for one in course.happened:
        if not one.skipped:
            by_kind[one.fault.kind].append(one.recovery)
    return {kind: _recoveries(by_kind[kind]) for kind in BLOCKING if kind in by_kind}


def _recoveries(found: Sequence[float | None]) -> dict[str, Any]:
    known = sorted(one for one in found if one is not None)
    return {
        "count": len(found),
        "median": round(statistics.median(known), 2) if known else None,
        "p95": round(known[int(0.95 * (len(known) - 1))], 2) if known else None,
        "max": round(known[-1], 2) if known else None,
    }


def markdown(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return the reports of several runs as one page."""
    kills = sum(one["kills_in_all"] for one in reports)
    minutes = sum(one["seconds"] for one in reports) / 60
    judged = "every invariant holds." if all(one["holds"] for one in reports) else "**an invariant is broken.**"
    head = [
        "# Chaos",
        "",
        f"{len(reports)} runs, {minutes:.1f} minutes under load, {kills:,} SIGKILLs: {judged}",
        "",
        ABOUT,
    ]
    return "\n".join([*head, *(line for one in reports for line in _run(one))]) + "\n"


def _run(one: Mapping[str, Any]) -> list[str]:
    producer = one["producer"]
    kills = ", ".join(f"{count:,} {target}" for target, count in one["kills"].items())
    calls = ", ".join(f"{count:,} {how}" for how, count in sorted(producer["calls"].items()))
    lost = ", ".join(f"{count:,} by {why}" for why, count in producer["lost_by_redis"].items()) or "none"
    return [
        "",
        f"## {one['pipeline']} on {one['store']}, seed {one['seed']}",
        "",
        f"- {one['seconds']:.0f} s at {one['pages_per_second']:g} pages/s: {producer['pages']:,} pages; calls: {calls}",
        f"- acknowledged entries: {producer['acknowledged_entries']:,}",
        f"- SIGKILLs: {one['kills_in_all']:,} ({kills})",
        f"- acknowledged and then lost by Redis itself, pushed again: {lost}",
        f"- at rest {one['rest_seconds']:.1f} s after the load",
        *(f"- {name.replace('_', ' ')}: {value}" for name, value in one.get("counted", {}).items()),
        "",
        *_verdict_table(one["verdicts"]),
        "",
        "| fault | count | median s | p95 s | max s |",
        "|---|---|---|---|---|",
        *(
            f"| {kind} | {found['count']} | {found['median']} | {found['p95']} | {found['max']} |"
            for kind, found in one["faults"].items()
        ),
    ]


def of_crawls(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return the reports of several crawls as one page."""
    judged = "every invariant holds." if all(one["holds"] for one in reports) else "**an invariant is broken.**"
    kills = sum(one["kills_in_all"] for one in reports)
    head = ["# Crawls whose fetchers are killed", "", f"{len(reports)} crawls, {kills:,} SIGKILLs: {judged}"]
    return "\n".join([*head, *(line for one in reports for line in _crawl(one))]) + "\n"


def _crawl(one: Mapping[str, Any]) -> list[str]:
    kills = ", ".join(f"{count:,} {target}" for target, count in sorted(one["kills"].items()))
    return [
        "",
        f"## {one['items']:,} items of {one['hosts']} hosts on {one['store']}, seed {one['seed']}",
        "",
        f"- SIGKILLs: {one['kills_in_all']:,} ({kills}), {one['kills_that_cost_leases']:,} of them with items in hand",
        f"- leases that were lost: {one['leases_lost']:,}",
        f"- {one['seconds']:.0f} s",
        "",
        *_verdict_table(one["verdicts"]),
    ]


def _verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "| verdict | holds | seen |",
        "|---|---|---|",
        *(f"| {v['name']} | {'yes' if v['holds'] else '**NO**'} | {v['seen']} |" for v in verdicts),
    ]


def write(
    reports: Sequence[Mapping[str, Any]], path: Path, page: Callable[[Sequence[Mapping[str, Any]]], str] = markdown
) -> None:
    """Write ``path`` as Markdown, and the same as JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(reports))
    path.with_suffix(".json").write_text(json.dumps(list(reports), indent=2) + "\n")
