"""The audit in the Prometheus text format, as node_exporter's textfile collector reads it.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from worker.audit.report import Audit


def exposition(result: Audit, drifts: Iterable[Mapping[str, Any]] = (), *, now: float) -> str:
    """Return the metrics of an audit that was made at ``now``, in seconds since the epoch, and of drifted fields."""
    return "".join(f"{line}\n" for line in (*_lines(result, now), *_drifts(drifts)))


def _lines(result: Audit, now: float) -> Iterator[str]:
    yield from _gauge("accepted", "Payloads that were ever accepted.", result.accepted)
    yield "# HELP penstock_ledger_outcomes Payloads by outcome; a retry moves one from failed to another."
    yield "# TYPE penstock_ledger_outcomes gauge"
    for outcome, count in result.outcomes.items():
        yield f'penstock_ledger_outcomes{{outcome="{outcome}"}} {count}'
    yield from _gauge("stream", "Payloads in the stream that have no outcome yet.", result.in_stream)
    yield from _gauge("pending", "Entries of the stream that a worker has in hand.", result.pending)
    yield from _gauge("parked", "Entries of the stream whose source is paused.", result.parked)
    yield from _gauge("difference", "Payloads without an outcome; below 0, outcomes without one.", result.difference)
    yield from _gauge("acknowledged", "The difference that an operator has acknowledged.", result.acknowledged)
    yield from _gauge("balanced", "1 when the ledger balances.", int(result.balanced))
    yield from _gauge("oldest_entry_age_seconds", "Age of the oldest entry in the stream.", _age(result, now))
    yield from _gauge("audit_timestamp_seconds", "When this was found.", round(now, 3))


def _drifts(drifts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "# HELP penstock_field_drift The fill rate or mean size now of fields that differ from what they were."
    yield "# TYPE penstock_field_drift gauge"
    for one in drifts:
        labels = ",".join(f'{name}="{_escaped(one[name])}"' for name in ("source", "field", "kind"))
        yield f"penstock_field_drift{{{labels}}} {one['after']}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _gauge(name: str, text: str, value: float) -> Iterator[str]:
    yield f"# HELP penstock_ledger_{name} {text}"
    yield f"# TYPE penstock_ledger_{name} gauge"
    yield f"penstock_ledger_{name} {value}"


def _age(result: Audit, now: float) -> float:
    if result.oldest_entry is None:
        return 0
    return round(max(0.0, now - int(result.oldest_entry.partition("-")[0]) / 1000), 3)
