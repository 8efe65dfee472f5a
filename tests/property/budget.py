"""How many examples the fuzzing tests try: the same few in the suite, many new ones at night (`HYPOTHESIS_PROFILE=nightly`)."""

from __future__ import annotations

import os

from hypothesis import settings

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


def fuzzing(examples: int) -> settings:
    """Settings for a test that tries so many examples in the suite, with a fixed seed, and 10,000 at night."""
    if NIGHTLY:
        return settings(max_examples=10_000, deadline=None)
    return settings(max_examples=examples, deadline=None, derandomize=True)
