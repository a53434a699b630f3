"""The store's note of how many payloads Redis has accepted: what is known when Redis loses its own count."""

from __future__ import annotations

from contextlib import suppress

from tasks.base import Context
from tasks.errors import StreamFull
from tasks.ports import Noted


def note_accepted(ctx: Context) -> Noted:
    """Note the accepted count of the present epoch in the store.

    A Redis that lost its last writes counts lower than it did: it is told what the store noted, or the next payloads
    would get numbers that were given already, and make up for those that are missing.
    """
    epoch, accepted = ctx.stream.accepted()
    noted = ctx.store.note_accepted(
        epoch=epoch, accepted=accepted, first_waiting=ctx.stream.first_id(), now=ctx.clock.now_us()
    )
    if noted.accepted > accepted:
        with suppress(StreamFull):  # a full Redis refuses; the pull that makes room in it must not end with that
            ctx.stream.raise_accepted(epoch, noted.accepted)
    return noted
