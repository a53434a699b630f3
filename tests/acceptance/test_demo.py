from __future__ import annotations

from tests.acceptance.conftest import Penstock


def test_the_demo_stores_what_its_site_knows(penstock: Penstock) -> None:
    said = penstock.run("demo", "--articles", "60")
    assert "It balances: nothing was lost." in said
    for error_class in ("Truncated", "Malformed", "UnknownFormat", "Gone", "HttpError"):
        assert error_class in said
    penstock.environ["PENSTOCK_HOME"] = str(penstock.home / "demo")
    assert penstock.json("audit")["balanced"] is True
    assert len(penstock.export()) > 40
