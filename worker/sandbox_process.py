"""``python -m worker.sandbox_process``: parses pages that may end their process, one at a time, for one pool process.

This process has the parsers loaded and parses nothing: it forks one that does, and another one where that has ended,
which takes milliseconds. Its parent asks for them on the socket that is its standard input, and gets a socket to each.
They end with their parents. What comes over their sockets is pickled: both ends are the same program, and nobody else
can write there.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys

from tasks.errors import ParserCrash, PenstockError, Permanent
from tasks.guard import guarded
from tasks.steps.page import PageResult, Payload, SourceProfile
from tasks.steps.understand import with_origin
from worker import frames
from worker.limits import Limited, die_with, limit_memory
from worker.plugins import load_parsers

FORK = b"fork"  # what the parent asks; anything else: to end that process and to tell its exit code


def answer(payload: Payload, profile: SourceProfile, limited: Limited) -> PageResult | Permanent:
    """Return what a page says, or why it says nothing. Raises nothing, whatever the parser does."""
    try:
        return guarded(payload, profile, lambda: limited)
    except Permanent as error:
        return with_origin(error)
    except BaseException as error:  # noqa: BLE001 (a parser that exits fails its page, and not the next one)
        return with_origin(ParserCrash(f"{type(error).__name__}: {error}"[:500]), error)


def serve(pipe: socket.socket, limited: Limited) -> None:
    """Answer until the other side is gone."""
    while (request := frames.receive(pipe)) is not None:
        payload, profile = pickle.loads(request)  # noqa: S301 (from our own process)
        frames.send(pipe, _pickled(answer(payload, profile, limited)))


def _pickled(found: PageResult | Permanent) -> bytes:
    try:
        return pickle.dumps(found)
    except Exception as error:  # noqa: BLE001 (whatever a plug-in put into the page)
        return pickle.dumps(ParserCrash(f"the parsed page cannot be passed on: {type(error).__name__}: {error}"[:500]))


def _fork(control: socket.socket, limited: Limited) -> int:
    """Start a process that serves, and send its process id and its socket; return its process id."""
    parent = os.getpid()
    theirs, ours = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            die_with(parent)
            control.close()
            theirs.close()
            serve(ours, limited)
        finally:
            os._exit(os.EX_SOFTWARE if sys.exc_info()[0] else os.EX_OK)
    ours.close()
    with theirs:
        socket.send_fds(control, [str(child).encode()], [theirs.fileno()])
    return child


def _end(child: int) -> int:
    """End a process that serves, if it still runs; return its exit code, negative for a signal."""
    if not child:  # to the kernel, 0 means every process of our group
        return os.EX_OK
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _own_pipe() -> socket.socket:
    """Take the socket off standard input and nothing for it, and let what a parser prints go to the log."""
    pipe = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return pipe


def main() -> None:
    """Run the process; its arguments are its parent's process id, and the limits in seconds and bytes."""
    parent, seconds, memory = sys.argv[1:]
    die_with(int(parent))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group: our parent decides when this ends
    control = _own_pipe()
    try:
        load_parsers()
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(2)
    limit_memory(int(memory))
    frames.send(control, b"")  # ready
    child = 0
    while (request := frames.receive(control)) is not None:
        if request == FORK:
            child = _fork(control, Limited(float(seconds)))
        else:
            frames.send(control, str(_end(child)).encode())
            child = 0


if __name__ == "__main__":
    main()
