"""The benchmarks: a workload, the peers that handle it, and what measures them. ``penstock bench`` runs them.

``pages`` makes the workload · ``work`` is the work on one page, in plain SQL, for the peers that have no store of
their own · ``peers`` are penstock and what it is compared with, one file each · ``reference`` says which rows must be
there in the end · ``servers``, ``processes`` and ``measure`` run and weigh one peer · ``rounds`` runs them all in
turn · ``report`` writes it down. ``articles`` compares extractors of article bodies, on its own.
"""
