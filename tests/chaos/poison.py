"""Pages that harm the process that parses them, by way of a parser plug-in: the product knows nothing of this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support import plugins
from tests.support.corpus import Push

SOURCE = "trap"
EVERY = 400  # pages between two of them
WAYS = ("segfault", "hang", "memory", "recursion")
CLASSES = {"Poison", "TimeLimit", "MemoryLimit", "ParserCrash"}
PROFILES = f'[sources.{SOURCE}]\nparser = "{SOURCE}"\n'

_PARSER = """
import os, signal
from tasks.errors import Malformed
from tasks.steps.parse import Parser


def deeper(level):
    return deeper(level + 1) + 1


def parse(payload, profile):
    way = payload.body.decode().split()[0]
    if way == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    held = []
    while way == "hang":
        pass
    while way == "memory":
        held.append(bytearray(64 << 20))
    raise Malformed(f"{deeper(0)}")


parser = Parser(name="{name}", version={version}, interface=1, parse=parse)
"""


def planted(pushes: Sequence[Push]) -> list[Push]:
    """Return the pushes with a poison page after every so many."""
    made: list[Push] = []
    for at, push in enumerate(pushes, 1):
        made.append(push)
        if at % EVERY == 0:
            way = WAYS[at // EVERY % len(WAYS)]
            made.append(Push(f"poison-{at}", f"{way} {at}".encode(), (), (), broken=True))
    return made


def is_poison(item: str) -> bool:
    return item.startswith("poison-")


def install(folder: Path) -> None:
    """Write the plug-in into a folder for ``PYTHONPATH``."""
    plugins.install(folder, name=SOURCE, source=_PARSER)
