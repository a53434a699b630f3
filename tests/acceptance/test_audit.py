"""``penstock audit`` through the installed command: for a person, for Prometheus, and put on record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import Penstock
from tests.support.servers import Redis, folder_for_servers


@pytest.fixture
def server() -> Iterator[Redis]:
    with folder_for_servers() as folder:
        made = Redis(folder / "redis")
        made.start()
        yield made
        made.kill()


def metrics(penstock: Penstock) -> dict[str, float]:
    """Return what Prometheus would read, by name."""
    families = text_string_to_metric_families(penstock.run("audit", "--metrics"))
    return {one.name.removeprefix("penstock_ledger_"): one.value for family in families for one in family.samples}


def test_a_loss_is_shown_to_prometheus_and_balances_once_it_is_on_record(penstock: Penstock, server: Redis) -> None:
    penstock.environ["PENSTOCK_REDIS_URL"] = server.url
    penstock.push_lines([f'{{"source": "a", "item": "{n}", "body": "text"}}' for n in range(3)])
    assert "nothing to acknowledge" in penstock.attempt("audit", "--acknowledge", "too early").stderr.decode()
    with server.client() as client:
        entries = client.xrange("{penstock}:pages")
        client.xdel("{penstock}:pages", entries[1][0])

    told = penstock.json("audit", code=1)
    assert (told["difference"], told["missing"][0]["serial"], told["missing"][0]["count"]) == (1, 2, 1)
    shown = metrics(penstock)
    assert [shown[name] for name in ("accepted", "stream", "difference", "balanced")] == [3, 2, 1, 0]

    done = penstock.attempt("audit", "--acknowledge", "the power cut of May")
    assert (done.returncode, "a difference of 1 in epoch" in done.stderr.decode()) == (0, True)
    assert penstock.json("audit")["acknowledged"] == 1
    shown = metrics(penstock)
    assert [shown[name] for name in ("accepted", "difference", "acknowledged", "balanced")] == [3, 0, 1, 1]
    assert penstock.attempt("audit", "--acknowledge", " ").returncode == 2
