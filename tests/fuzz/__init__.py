"""Coverage-guided fuzzing of all that reads what strangers wrote: ``make fuzz``, or ``python -m tests.fuzz --help``.

A target must end within two seconds and raise nothing but penstock's own errors. What the fuzzer finds is kept in
``corpus/TARGET/``, mended, and from then on goes through the target with each ``make test``.
"""
