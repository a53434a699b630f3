"""A source whose pages all fail is paused; the others go on; nothing is lost."""

from __future__ import annotations

import json

from tests.acceptance.conftest import Penstock, nonzero
from tests.support.corpus import page


def _line(source: str, number: int, *, good: bool = True) -> str:
    body = page((f"Text {number} of {source}.",), ()).decode() if good else f"no format that anybody knows {number}"
    return json.dumps({"source": source, "item": str(number), "body": body})


def _push(penstock: Penstock, *lines: str, code: int = 0) -> str:
    done = penstock.attempt("push", "-", "--format", "ndjson", stdin="\n".join(lines).encode())
    assert done.returncode == code, done.stderr.decode()
    return done.stderr.decode()


def test_a_source_past_the_ceiling_waits_while_another_goes_on(penstock: Penstock) -> None:
    penstock.environ["PENSTOCK_FAILURE_CEILING_LEAST"] = "16"
    failing = [_line("bad", number, good=False) for number in range(16)]  # as many as the first read takes
    fine = [_line("bad", number) for number in range(100, 120)] + [_line("good", number) for number in range(5)]
    _push(penstock, *failing, *fine)
    drained = penstock.attempt("work", "--drain", "--concurrency", "1")
    assert drained.returncode == 0
    assert "20 pages wait in the stream, as their source is paused: bad" in drained.stderr.decode()
    reason = "16 of its last 16 pages failed (100 %)"
    status = penstock.json("status")
    assert (status["parked"], status["stream"], status["paused"]) == (20, 20, {"bad": reason})
    assert nonzero(status["outcomes"]) == {"new": 5, "failed": 16}
    assert penstock.json("audit")["balanced"] is True
    told = _push(penstock, _line("bad", 200), code=75)
    assert f"the source bad is paused: {reason}" in told
    assert "penstock sources resume bad" in told
    _push(penstock, _line("bad", 201), _line("good", 5), code=75)  # the page of the other source is pushed
    assert "did you mean 'good'" in penstock.attempt("sources", "pause", "goood").stderr.decode()
    penstock.run("sources", "pause", "good", "--note", "its site is moving")
    listed = penstock.json("sources", "list")
    assert (listed["bad"]["reason"], listed["bad"]["parked"]) == (reason, 20)
    assert (listed["good"]["state"], listed["good"]["reason"]) == ("paused", "its site is moving")

    for source in ("good", "bad"):
        penstock.run("sources", "resume", source)
    assert penstock.attempt("sources", "resume", "bad").returncode == 2
    penstock.run("work", "--drain")
    assert nonzero(penstock.json("status")["outcomes"]) == {"new": 26, "failed": 16}
    audit = penstock.json("audit")
    assert (audit["balanced"], audit["in_stream"], audit["difference"]) == (True, 0, 0)
    _check_traces(penstock)


def _check_traces(penstock: Penstock) -> None:
    """The ids of the log lines, of Sentry and of the failures are keys of a trace."""
    (group,) = penstock.json("failures", "--parser", "none", "--since", "1h", "--limit", "5")
    failed = penstock.json("trace", str(group["sample"]))
    (delivered,) = (step for step in failed["steps"] if step["step"] == "delivered")
    assert (delivered["outcome"], delivered["error_class"]) == ("failed", "UnknownFormat")
    assert failed["now"]["failures"][0]["state"] == "dead"
    assert penstock.json("trace", delivered["entry"])["identity"] == failed["identity"]
    fine = penstock.json("trace", "bad/100")
    assert [step["step"] for step in fine["steps"]][:2] == ["pushed", "delivered"]
    assert fine["now"]["page"]["revisions"] == 1
    unknown = penstock.attempt("trace", "bad/999")
    assert (unknown.returncode, b"nothing is known of 'bad/999'" in unknown.stderr) == (2, True)
    assert penstock.json("replay", "--parser", "none", "--dry-run", "--limit", "3")["count"] == 3
