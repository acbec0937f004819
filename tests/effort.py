"""How many examples the longest properties try: half by day, all of them at night (HYPOTHESIS_PROFILE=thorough)."""

from __future__ import annotations

import os

__all__ = ["examples"]

_NIGHTLY = {"thorough", "explore"}


def examples(count: int) -> int:
    """The number of examples of a property that takes seconds."""
    return count if os.environ.get("HYPOTHESIS_PROFILE") in _NIGHTLY else count // 2
