"""penstock as the pipeline under test: how it is started, pushed to and looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from tasks.steps.page import Payload
from tests.chaos import poison
from tests.chaos.look import Look
from tests.chaos.servers import Redis
from worker.producer import Producer
from worker.store import open_store
from worker.stream import GROUP
from worker.supervisor import penstock

NAMESPACE = "chaos"
STREAM = f"{{{NAMESPACE}}}:pages"
META = f"{STREAM}:meta"
# The lease is the shortest that goes with the rest, so that what a stopped process holds is not waited for too long.
SETTINGS = {
    "NAMESPACE": NAMESPACE,
    "LOG_FORMAT": "json",
    "PULL_SECONDS": "5",
    "FETCH_TIMEOUT_SECONDS": "5",
    "LEASE_SECONDS": "42",
    "PAGE_SECONDS": "0.5",
    "PROCESS_MEMORY": "600MiB",
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_MAX_SECONDS": "1",
    # All pages of the trap fail; paused, it would hand over no more of them.
    "FAILURE_CEILING_LEAST": "1000000",
}
IDS = """
local ids, start = {}, '-'
while true do
  local found = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 500)
  for _, entry in ipairs(found) do ids[#ids + 1] = entry[1] end
  if #found < 500 then return ids end
  start = '(' .. found[#found][1]
end
"""


class Product:
    """penstock on one Redis and one store."""

    name = "penstock"
    count = "SELECT sum(n) FROM outcome_count"

    rest_seconds = 240.0

    def __init__(self, folder: Path, server: Redis, public_store: str, store: str, *, direct: bool = False) -> None:
        home, public_redis = folder / "home", server.url if direct else server.public_url
        self._redis, self.store_url = server, store
        home.mkdir(parents=True, exist_ok=True)
        (home / "sources.toml").write_text(poison.PROFILES)
        poison.install(home / "plugins")
        self.environ = environ(home, public_redis, public_store)
        self._direct = environ(home, server.url, store)
        self._producer = Producer(public_redis, namespace=NAMESPACE)
        self._look = Look(store)
        open_store(store).close()

    def command(self) -> Sequence[str]:
        return [sys.executable, "-P", *penstock("work", "--only", "ingest,retry", "--concurrency", "2")]

    def send(self, payloads: Sequence[Payload]) -> Sequence[str]:
        return self._producer.push_batch(payloads)

    def waiting(self) -> set[str]:
        """Return the entries that are in the stream."""
        with self._redis.client() as client:
            found: Any = client.eval(IDS, 1, STREAM)
        return {one.decode() for one in found}

    def settled(self) -> set[str]:
        """Return the entries that have their outcome."""
        return {f"{ms}-{seq}" for ms, seq in self._look.rows("SELECT ms, seq FROM delivery")}

    def busy(self) -> set[int]:
        """Return the processes that hold entries; a consumer's name ends in its process' number and start."""
        with self._redis.client(timeout=0.2) as client:
            try:
                held: Any = client.xpending(STREAM, GROUP)
            except redis.RedisError:
                return set()
        return {int(one["name"].decode().split("|")[2]) for one in held["consumers"]}

    def left(self) -> Mapping[str, int]:
        """Return what is not at rest yet; nothing of it when all is done."""
        with self._redis.client() as client:
            groups: Any = client.xinfo_groups(STREAM) if client.exists(STREAM) else []
            length = int(client.eval("return redis.call('XLEN', KEYS[1])", 1, STREAM))
        held = {f"held in {one['name'].decode()}": int(one["pending"]) for one in groups}
        waiting = self._look.number("SELECT count(*) FROM failure WHERE state = 'waiting'")
        return {"in the stream": length, **held, "failures to be tried again": waiting}

    def epoch_accepted(self) -> tuple[str, int]:
        """Return the present epoch, and how many payloads Redis says were accepted in it."""
        with self._redis.client() as client:
            epoch, accepted = client.hmget(META, ["epoch", "accepted"])
        return (epoch or b"").decode(), int(accepted or 0)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command of penstock around the network."""
        command = [sys.executable, "-P", *penstock(*arguments)]
        return subprocess.run(command, env=self._direct, capture_output=True, timeout=120, check=False)

    def audit(self) -> dict[str, Any]:
        done = self.run("audit", "--json")
        try:
            return dict(json.loads(done.stdout))
        except ValueError:
            return {"balanced": False, "difference": None, "told": done.stderr.decode()[-2000:]}

    def acknowledge(self, note: str) -> str:
        """Let the operator put the known loss on record; return what was said."""
        done = self.run("audit", "--acknowledge", note)
        return (done.stdout + done.stderr).decode().strip()

    def close(self) -> None:
        self._producer.close()
        self._look.close()


def environ(home: Path, redis_url: str, store_url: str) -> dict[str, str]:
    """Return the environment of penstock's processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    ours = {**SETTINGS, "HOME": str(home), "REDIS_URL": redis_url, "STORE_URL": store_url}
    kept["PYTHONPATH"] = str(home / "plugins")
    return kept | {f"PENSTOCK_{name}": value for name, value in ours.items()}


def undisturbed(payloads: Sequence[Payload], folder: Path, log_path: Path) -> str:
    """Let penstock handle the same pages on servers that nothing happens to; return the URL of its store."""
    folder.mkdir()
    store = f"sqlite:///{folder / 'store.db'}"
    server = Redis(folder / "redis")
    server.start()
    try:
        pipeline = Product(folder, server, store, store, direct=True)
        for at in range(0, len(payloads), 500):
            pipeline.send(payloads[at : at + 500])
        with log_path.open("ab") as log:
            command = [sys.executable, "-P", *penstock("work", "--drain", "--only", "ingest,retry")]
            subprocess.run(command, env=pipeline.environ, stdout=log, stderr=log, timeout=900, check=True)
        pipeline.close()
    finally:
        server.close()
    return store
