"""A real system under load, with faults drawn from a seed, and what must hold in the end: ``python -m tests.chaos``.

``plan`` draws the faults, ``faults`` does them, ``servers`` and ``proxy`` are what they are done to, ``system`` the
workers. ``load`` is the producer and remembers what it was told; ``look`` reads the store directly. ``run`` puts a run
together, ``invariants`` judges what it left, ``report`` tells it. ``plain`` is the pipeline that most teams write, for
comparison: it gets the same load and the same faults.
"""
