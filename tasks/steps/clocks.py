"""Bring the times of another clock onto ours."""

from __future__ import annotations


def offset_us(known: int, *, asked: int, told: int, answered: int) -> int:
    """Return what is to be added to the other clock's time to have ours.

    The other one told its time between ``asked`` and ``answered`` of ours, so the offset is between ``asked - told``
    and ``answered - told``. As long as what was ``known`` is, it stays, so that times that were told one after the
    other keep their distances. Begin with 0: clocks are taken to agree until they show that they do not. What follows
    from the answer otherwise is never too early.
    """
    return known if asked <= told + known <= answered else answered - told
