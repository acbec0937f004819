"""The faults: their names, the syntax of `--faults`, and their assignment to requests, reproducible by a seed."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from airflow_provider_adjust.sandbox.middleboxes import LOSING_THE_ANSWER, PAGES

# The faults of RECORDING record the event first; the others leave it unrecorded.
RESET_BEFORE = "reset_before"
RESET_AFTER = "reset_after"
STALL_BEFORE = "stall_before"
STALL_AFTER = "stall_after"
TRUNCATE = "truncate"
TRUNCATE_BEFORE = "truncate_before"
SLOW = "slow"
# Short for the worse of the two stalls: the sender cannot know that the event was recorded.
STALL = "stall"

KINDS = (RESET_BEFORE, RESET_AFTER, STALL_BEFORE, STALL_AFTER, TRUNCATE, TRUNCATE_BEFORE, SLOW, *PAGES)
RECORDING = frozenset({RESET_AFTER, STALL_AFTER, TRUNCATE, SLOW}) | LOSING_THE_ANSWER

# Faults of a report: it is empty, or its totals are too small or too large.
EMPTY = "204"
FEWER = "fewer"
MORE = "more"


def check_report_kind(kind: str) -> str:
    """Return the name of a report's fault in its normal form.

    :raises ValueError: for a fault that does not exist.
    """
    name = str(kind).strip()
    if name in (EMPTY, FEWER, MORE) or (name.isascii() and name.isdigit() and 400 <= int(name) <= 599):
        return name
    raise ValueError(f"unknown fault {name!r} of a report; known are 204, a status from 400 to 599, {FEWER} and {MORE}")


def check_kind(kind: str) -> str:
    """Return the name of a fault in its normal form. A status from 400 to 599 is a fault.

    :raises ValueError: for a fault that does not exist.
    """
    name = str(kind).strip()
    if name == STALL:
        return STALL_AFTER
    if name in KINDS or (name.isascii() and name.isdigit() and 400 <= int(name) <= 599):
        return name
    raise ValueError(f"unknown fault {name!r}; known are a status from 400 to 599, {', '.join(KINDS)} and {STALL}")


def parse_faults(spec: str | Mapping[str, float], check: Callable[[str], str] = check_kind) -> dict[str, float]:
    """Read `"503=0.02,reset_after=0.01"` or `{"503": 0.02}` into shares per fault.

    :raises ValueError: for an unknown fault, a share that is not a number from 0 to 1, or shares above 1 together.
    """
    pairs: list[tuple[str, object]] = []
    if isinstance(spec, Mapping):
        pairs.extend(spec.items())
    elif isinstance(spec, str):
        for part in filter(None, (piece.strip() for piece in spec.split(","))):
            name, equals, text = part.partition("=")
            if not equals:
                raise ValueError(f"a fault is written kind=share, such as 503=0.02; got {part!r}")
            pairs.append((name, text))
    else:
        raise TypeError("faults must be a text such as '503=0.02' or a mapping of fault to share")
    shares: dict[str, float] = {}
    for name, value in pairs:
        kind = check(name)
        try:
            share = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError(f"the share of fault {kind} must be a number from 0 to 1; got {value!r}") from None
        if not 0 <= share <= 1:
            raise ValueError(f"the share of fault {kind} must be from 0 to 1; got {value!r}")
        shares[kind] = shares.get(kind, 0.0) + share
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError("the shares of all faults together exceed 1")
    return shares


class FaultSource:
    """Returns one fault, or None, per request: first those of the plan, then random ones.

    Each unplanned request takes exactly one random number. The same seed and number of requests therefore give the same
    faults, whatever the requests contain.
    """

    def __init__(self, shares: Mapping[str, float], plan: Sequence[str | None], seed: int) -> None:
        self._plan = deque(plan)
        self._random = random.Random(seed)
        self._shares = tuple(shares.items())

    def planned(self) -> tuple[str | None, ...]:
        """Return the rest of the plan."""
        return tuple(self._plan)

    def next(self) -> str | None:
        """Return the fault of the next request."""
        if self._plan:
            return self._plan.popleft()
        if not self._shares:
            return None
        point = self._random.random()
        for kind, share in self._shares:
            if point < share:
                return kind
            point -= share
        return None
