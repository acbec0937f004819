"""The counts of the digest, and how the tries of one task instance become one.

What one try delivered counts once: a later try that reads the row again counts it as settled by an earlier try. What was
refused counts in each try that read it, so there the last reading counts.
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
    """What is counted together. A row that could not be read has no environment."""

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
        """Add the other's, or those of the outcomes only."""
        for key, count in other.events.items():
            if outcomes is None or key.outcome in outcomes:
                self.add(key, count, other.revenue.get(key))


def folded(its_tries: Sequence[Counts]) -> Counts:
    """The tries of one task instance as one: what arrived adds up, and of the rest the last reading of a row counts."""
    whole = Counts()
    for counts in its_tries:
        before, whole = whole, Counts()
        # With a checkpoint a try reads on where the last one stopped, and its counts are of other rows.
        reads_again = counts.events.total() >= before.events.total() or any(
            key.reason == _BY_EARLIER_TRY for key in counts.events
        )
        whole.take(counts)
        whole.take(before, _ARRIVED if reads_again else _SETTLED)
    return whole
