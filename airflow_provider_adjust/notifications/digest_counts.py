"""The counts of the digest, and how the tries of one task instance are combined.

A delivered event counts once: a later try that reads its row again counts it as settled before. A refused row counts in each
try that read it, so only its last reading is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from airflow_provider_adjust.s2s.answers.outcome import Outcome

_ARRIVED = frozenset({Outcome.DELIVERED.value, Outcome.DUPLICATE.value})
_SETTLED = frozenset(outcome.value for outcome in Outcome if outcome is not Outcome.HELD)
_BY_EARLIER_TRY = "by_earlier_try"


class Key(NamedTuple):
    """The key of a count. A row that could not be read has no environment."""

    environment: str
    outcome: str
    reason: str
    currency: str


@dataclass
class Counts:
    """Events and revenue by key."""

    events: Counter[Key] = field(default_factory=Counter)
    revenue: dict[Key, Decimal] = field(default_factory=dict)

    def add(self, key: Key, count: int, amount: Decimal | None) -> None:
        self.events[key] += count
        if amount is not None and key.currency:
            self.revenue[key] = self.revenue.get(key, Decimal(0)) + amount

    def take(self, other: Counts, outcomes: Collection[str] | None = None) -> None:
        """Add the other's counts, or only those of these outcomes."""
        for key, count in other.events.items():
            if outcomes is None or key.outcome in outcomes:
                self.add(key, count, other.revenue.get(key))


def folded(its_tries: Sequence[Counts]) -> Counts:
    """Combine the tries of one task instance: deliveries add up; for other outcomes the last reading of a row counts."""
    whole = Counts()
    for counts in its_tries:
        before, whole = whole, Counts()
        # With a checkpoint, a try continues where the last one stopped, so its counts are of other rows.
        reads_again = counts.events.total() >= before.events.total() or any(
            key.reason == _BY_EARLIER_TRY for key in counts.events
        )
        whole.take(counts)
        whole.take(before, _ARRIVED if reads_again else _SETTLED)
    return whole
