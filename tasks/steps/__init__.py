"""The pure steps: no I/O, no clock, no chance, no logging. The flow that joins them stands in ``tasks``."""
