"""Parser plug-ins as an installer leaves them: a module and a ``dist-info`` folder, on ``PYTHONPATH``."""

from __future__ import annotations

import shutil
from pathlib import Path

# A parser for texts whose first line is ``=== NAME``: the title, then a paragraph a line.
SOURCE = """
from tasks.errors import Malformed
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import Parser


def parse(payload: Payload, profile: SourceProfile) -> ParsedPage:
    title, *lines = payload.body.decode().splitlines()
    if not title.startswith("==="):
        raise Malformed("there is no title")
    return ParsedPage(parser="{name}", parser_version={version}, title=title[4:], paragraphs=tuple(lines))


parser = Parser(name="{name}", version={version}, interface=1, parse=parse)
"""

# A parser for pages in the vardump form, and for others that say what they do to the process that parses them:
# ``poison``, then the name of one of these functions.
HOSTILE = """
import ctypes, itertools, os, signal, sys, time
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import Parser
from tasks.steps.parse.vardump import parse_vardump


def segfault():
    ctypes.string_at(0)


def hang():
    while True:
        pass


def stubborn():
    while True:
        try:
            hang()
        except Exception:
            pass


def native():
    sum(itertools.repeat(1))


def memory():
    held = []
    while True:
        held.append(bytes(1 << 20))


def recursion():
    recursion()


def deep(_=None):
    sys.setrecursionlimit(1 << 30)
    max([0], key=deep)


def leave():
    sys.exit(3)


def vanish():
    os._exit(3)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep():
    time.sleep(3600)


def odd():
    return lambda: 0


def parse(payload: Payload, profile: SourceProfile) -> ParsedPage:
    words = payload.body.decode().split()
    if words[0] != "poison":
        return parse_vardump(payload, profile)
    return ParsedPage(parser="{name}", parser_version={version}, title=words[1], language=globals()[words[1]]())


parser = Parser(name="{name}", version={version}, interface=1, parse=parse)
"""


def install(
    folder: Path, *, name: str = "mine", version: int = 1, source: str = SOURCE, value: str | None = None
) -> None:
    """Write the plug-in ``name`` into a folder that is to stand on ``PYTHONPATH``, in place of an older version.

    ``{name}`` and ``{version}`` in the source are filled in. ``value`` is what the entry point names.
    """
    module = f"plugin_{name.replace('-', '_').replace('.', '_')}"
    info = folder / f"{module}-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source.replace("{name}", name).replace("{version}", str(version)))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[penstock.parsers]\n{name} = {value or f'{module}:parser'}\n")
    # Bytecode is known by second and size of its source, which two versions may share.
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
