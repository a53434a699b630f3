"""Sentry, in a child process (the SDK patches Celery for good), against a real endpoint on loopback."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import brotli
import pytest

ROOT = Path(__file__).parents[2]
PAGE = "the text of a page that must not leave"


DECODE: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.decompress, "br": brotli.decompress}


class Endpoint:
    """A Sentry that keeps what it is sent: for each envelope its path, and its items as header and content."""

    def __init__(self) -> None:
        self.envelopes: list[tuple[str, list[tuple[dict[str, Any], Any]]]] = []
        self.raw = b""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = DECODE[self.headers.get("Content-Encoding", "")](body)
                endpoint.raw += body
                endpoint.envelopes.append((self.path, _items(body)))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.server.server_port}/42"

    def events(self) -> list[dict[str, Any]]:
        return [content for _, items in self.envelopes for header, content in items if header["type"] == "event"]


def _items(body: bytes) -> list[tuple[dict[str, Any], Any]]:
    lines = body.split(b"\n")[1:]
    return [(json.loads(head), json.loads(content)) for head, content in zip(lines[::2], lines[1::2], strict=False)]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    thread = threading.Thread(target=endpoint.server.serve_forever)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.server.shutdown()
        thread.join()
        endpoint.server.server_close()


def run(code: str, dsn: str) -> None:
    """Run code in a process where Sentry was configured, with ``page`` a local variable; wait until all is sent."""
    script = f"""
import sys
from worker.telemetry import configure_sentry, report

def main(dsn, page):
    on = configure_sentry(dsn=dsn, environment="test", release="penstock@1.2.3")
    assert on is bool(dsn)
{textwrap.indent(textwrap.dedent(code), "    ")}
    import sentry_sdk
    sentry_sdk.flush(10)

main({dsn!r}, {PAGE!r})
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SENTRY_")}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=ROOT, env=environ, timeout=60)


REPORT = """
report("Truncated", "cut at byte 5 of redis://me:hunter2@host/0", fingerprint="f00d", source="site", item="7",
       entry="5-0", failure=17, url="http://h/7?token=hunter2", body=page, attempts=3)
"""


def test_a_report_is_one_event_with_ids_as_tags_and_the_failures_fingerprint(endpoint: Endpoint) -> None:
    run(REPORT, endpoint.dsn)
    [(path, [(header, event)])] = endpoint.envelopes
    assert path == "/api/42/envelope/"
    assert header["type"] == "event"
    for volatile in ("event_id", "timestamp", "server_name", "sdk", "modules"):
        assert event.pop(volatile)
    for volatile in ("runtime", "trace"):
        event["contexts"].pop(volatile, None)
    event.pop("extra", None)  # the command line's arguments: ["-c"]
    event.pop("breadcrumbs", None)
    event.pop("transaction_info", None)
    assert event == {
        "level": "error",
        "platform": "python",
        "environment": "test",
        "release": "penstock@1.2.3",
        "exception": {"values": [{"type": "Truncated", "value": "cut at byte 5 of redis://***@host/0"}]},
        "fingerprint": ["f00d"],
        "tags": {"source": "site", "item": "7", "entry": "5-0", "failure": "17"},
        "contexts": {
            "penstock": {
                "source": "site",
                "item": "7",
                "entry": "5-0",
                "failure": 17,
                "url": "http://h/7?token=<hidden>",
                "attempts": 3,
            }
        },
    }


def test_nothing_leaves_that_is_a_page_or_a_secret(endpoint: Endpoint) -> None:
    run(REPORT, endpoint.dsn)
    assert b"cut at byte 5" in endpoint.raw
    assert PAGE.encode() not in endpoint.raw
    assert b"hunter2" not in endpoint.raw


def test_without_a_dsn_nothing_is_sent_and_the_sdk_is_off(endpoint: Endpoint) -> None:
    run(REPORT + "\nimport sentry_sdk; assert not sentry_sdk.is_initialized()", "")
    assert endpoint.envelopes == []


def test_a_dsn_that_is_none_is_refused_in_one_sentence(endpoint: Endpoint) -> None:
    code = """
    try:
        configure_sentry(dsn="nonsense")
    except ValueError as error:
        assert str(error).startswith("the Sentry DSN is not one"), error
    else:
        raise SystemExit("accepted")
    """
    run(code, "")
    assert endpoint.envelopes == []


CAPTURE = """
import sentry_sdk
from tasks.errors import StoreUnavailable, Truncated

def fail(error):
    text = page  # a local variable that holds a page
    raise error

for error in ({errors}):
    try:
        fail(error)
    except Exception as caught:
        sentry_sdk.capture_exception(caught)
"""


def test_what_is_tried_again_by_itself_or_only_logged_is_no_report(endpoint: Endpoint) -> None:
    logged = "\nimport logging; logging.getLogger('kombu').error('connection lost')"
    run(CAPTURE.format(errors="StoreUnavailable(), ValueError('ours to fix')") + logged, endpoint.dsn)
    [event] = endpoint.events()
    assert event["exception"]["values"][0]["type"] == "ValueError"


def test_an_error_of_ours_is_grouped_by_class_and_source_and_carries_no_variables(endpoint: Endpoint) -> None:
    run(CAPTURE.format(errors="Truncated('cut', source='site', item='7', entry='5-0', body=page),"), endpoint.dsn)
    [event] = endpoint.events()
    assert event["fingerprint"] == ["Truncated", "site"]
    assert event["tags"] == {"source": "site", "item": "7", "entry": "5-0"}
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames][-1] == "fail"
    assert not any("vars" in frame for frame in frames)
    assert PAGE.encode() not in endpoint.raw


CELERY = """
import logging
from celery import Celery
from celery.contrib.testing.worker import start_worker

app = Celery(broker="memory://", backend="cache+memory://")
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)

@app.task(name="pages.ingest")
def ingest(body):
    raise RuntimeError("a bug of ours")

@app.task(name="celery.ping")
def ping():
    return "pong"

with start_worker(app, pool="solo", perform_ping_check=False):
    result = ingest.delay(page)
    try:
        result.get(timeout=20)
    except RuntimeError:
        pass
"""


def test_a_bug_in_a_task_is_one_report_with_the_tasks_name_and_without_its_arguments(endpoint: Endpoint) -> None:
    run(CELERY, endpoint.dsn)
    [event] = endpoint.events()
    assert event["exception"]["values"][-1]["value"] == "a bug of ours"
    assert event["transaction"] == "pages.ingest"
    assert event["extra"]["celery-job"]["task_name"] == "pages.ingest"
    assert event["tags"]["celery_task_id"]
    assert PAGE.encode() not in endpoint.raw
