"""What a process is called as a consumer of the stream, and whether the process behind a name still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def consumer_name() -> str:
    """Name this process so that another one of the same machine can tell whether it still lives.

    ``host|boot.pid namespace|pid|start time``: a pid alone may be used again, and means nothing in another container
    or on another machine, which may have the same name.
    """
    pid = os.getpid()
    return f"{socket.gethostname()}|{_system()}|{pid}|{_start_time(pid)}"


def is_dead_neighbour(consumer: str) -> bool:
    """Tell whether the consumer is a process of this machine that has ended; False when we cannot know."""
    parts = consumer.rsplit("|", 3)
    if len(parts) != 4 or parts[:2] != [socket.gethostname(), _system()] or parts[1] == "?":  # noqa: PLR2004 (four parts)
        return False
    return not parts[2].isdigit() or _start_time(int(parts[2])) != parts[3]


def _system() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return "?"


def _start_time(pid: int) -> str:
    """Return the process' start in clock ticks since boot (field 22 of proc(5) stat), or "gone"."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "gone"
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[0] == "Z" else fields[19]
