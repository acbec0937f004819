"""Which request meets which fault: the language of `--faults`, and a choice that a seed makes reproducible."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence

# Faults that say "before" or carry a status leave the event unrecorded; the others record it first.
RESET_BEFORE = "reset_before"
RESET_AFTER = "reset_after"
STALL_BEFORE = "stall_before"
STALL_AFTER = "stall_after"
TRUNCATE = "truncate"
TRUNCATE_BEFORE = "truncate_before"
SLOW = "slow"
HTML = "html"
REDIRECT = "redirect"
# Shorthand for the worse of the two: the sender cannot know that the event was recorded.
STALL = "stall"

KINDS = (RESET_BEFORE, RESET_AFTER, STALL_BEFORE, STALL_AFTER, TRUNCATE, TRUNCATE_BEFORE, SLOW, HTML, REDIRECT)
RECORDING = frozenset({RESET_AFTER, STALL_AFTER, TRUNCATE, SLOW})

# What a report may do instead: say that there is nothing, or show wrong totals.
EMPTY = "204"
FEWER = "fewer"
MORE = "more"


def check_report_kind(kind: str) -> str:
    """Return the fault of a report's own name.

    :raises ValueError: for a fault that does not exist.
    """
    name = str(kind).strip()
    if name in (EMPTY, FEWER, MORE) or (name.isascii() and name.isdigit() and 400 <= int(name) <= 599):
        return name
    raise ValueError(f"unknown fault {name!r} of a report; known are 204, a status from 400 to 599, {FEWER} and {MORE}")


def check_kind(kind: str) -> str:
    """Return the fault's own name; a status is one of 400 to 599.

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
    """Deals out one fault, or none, per request: first the plan, then by chance.

    Chance draws exactly one number per unplanned request, so the same seed and the same number of requests meet the
    same faults, whatever the requests hold.
    """

    def __init__(self, shares: Mapping[str, float], plan: Sequence[str | None], seed: int) -> None:
        self._plan = deque(plan)
        self._random = random.Random(seed)
        self._shares = tuple(shares.items())

    def planned(self) -> tuple[str | None, ...]:
        """Return what is left of the plan."""
        return tuple(self._plan)

    def next(self) -> str | None:
        """Return the fault that the next request meets."""
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
