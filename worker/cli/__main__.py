"""``python -m worker.cli`` is ``penstock``."""

from worker.cli import main

main()
