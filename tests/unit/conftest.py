"""Settings of the unit tests: Hypothesis judges results, never speed."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("penstock", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "penstock"))
