"""Counts and exact revenue over the receipts of one delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.s2s.account.amounts import plain
from airflow_provider_adjust.s2s.answers.outcome import (
    DIFFERS,
    DRY_RUN,
    FINAL_OUTCOMES,
    SETTLED_BEFORE,
    Outcome,
    is_undelivered,
)
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.errors import CountsMismatch
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.redaction import escape, mask_values

#: The longest event id and detail in a summary, in characters: summaries are part of checkpoints, which are small.
_LONGEST_ID = 40
_LONGEST_DETAIL = 200
_NOTHING = Decimal(0)
#: A dict, since an enum's ``value`` costs as much as all other counting of a delivered event.
_NAMES = {outcome: outcome.value for outcome in Outcome}


@dataclass
class DeliverySummary:
    """Counts over receipts, with exact revenue. Its size does not grow with the number of receipts.

    ``first_event_at`` and ``last_event_at`` are those of delivered events, which Adjust's report must show.
    """

    read: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    adjusted: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    #: Adjusted events that were sent with the time of their lane's last event.
    at_lane_time: int = 0
    revenue: dict[str, Decimal] = field(default_factory=dict)
    #: In a dry run: events that would be sent.
    unsent_revenue: dict[str, Decimal] = field(default_factory=dict)
    revenue_by_reason: dict[tuple[str, str], dict[str, Decimal]] = field(default_factory=dict)
    #: Events that were not sent because the ledger has them from another DAG: counts by DAG, and revenue.
    claimed_by: Counter[str] = field(default_factory=Counter)
    claimed_revenue: dict[str, Decimal] = field(default_factory=dict)
    #: The first undelivered row of each outcome and reason, with its detail: often all share one error.
    first_details: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None

    def add(self, receipt: Receipt) -> None:
        outcome, event = receipt.outcome, receipt.event
        self.outcomes[_NAMES[outcome]] += 1
        if receipt.reason:
            self._add_reason(receipt)
        if receipt.claimed_by is not None:
            self._add_claimed(receipt.claimed_by, event)
        if event is None:
            return
        if event.left_out or receipt.sent_at:
            self.adjusted += 1
            self.left_out.update(event.left_out)
            self.at_lane_time += receipt.sent_at is not None
        if outcome is Outcome.DELIVERED:
            booked_at = receipt.sent_at or event.occurred_at
            if self.first_event_at is None or booked_at < self.first_event_at:
                self.first_event_at = booked_at
            if self.last_event_at is None or booked_at > self.last_event_at:
                self.last_event_at = booked_at
            _add_revenue(self.revenue, event)
        elif receipt.is_undelivered:
            if event.revenue is not None:
                _add_revenue(self.revenue_by_reason.setdefault((_NAMES[outcome], receipt.reason), {}), event)
        elif receipt.reason == DRY_RUN:
            _add_revenue(self.unsent_revenue, event)

    def _add_reason(self, receipt: Receipt) -> None:
        key = (_NAMES[receipt.outcome], receipt.reason)
        self.reasons[key] += 1
        if receipt.is_undelivered and key not in self.first_details:
            self.first_details[key] = _first_detail(receipt)

    def _add_claimed(self, claimed_by: str, event: Event | None) -> None:
        self.claimed_by[claimed_by] += 1
        if event is not None:
            _add_revenue(self.claimed_revenue, event)

    @property
    def settled(self) -> int:
        return sum(self.outcomes.values())

    @property
    def known(self) -> int:
        """Rows that earlier runs settled."""
        return sum(self.reasons[Outcome.SKIPPED.value, reason] for reason in SETTLED_BEFORE)

    @property
    def differing(self) -> int:
        """Events that Adjust has with other content."""
        return self.reasons[Outcome.SKIPPED.value, DIFFERS]

    @property
    def new(self) -> int:
        """Rows that are new in this run."""
        return self.read - self.known

    def check(self) -> None:
        """Raise ``CountsMismatch`` unless every row that was read has exactly one outcome."""
        if self.settled != self.read:
            raise CountsMismatch(
                f"{self.read} rows were read but {self.settled} have an outcome ({dict(self.outcomes)}); "
                "this is a defect of the provider: please report it, and compare Adjust with the warehouse"
            )

    def count(self, outcomes: frozenset[Outcome], tolerated: frozenset[str] = frozenset()) -> int:
        """The number of events with one of the outcomes, without those with a tolerated outcome or reason."""
        total = sum(self.outcomes[outcome.value] for outcome in outcomes if outcome.value not in tolerated)
        forgiven = sum(
            count
            for (outcome, reason), count in self.reasons.items()
            if outcome in outcomes and outcome not in tolerated and reason in tolerated
        )
        return total - forgiven

    def undelivered_reasons(self) -> list[tuple[str, str]]:
        """Outcomes and reasons of undelivered events: the largest revenue in any currency first, then the most events."""

        def weight(key: tuple[str, str]) -> tuple[Decimal, int]:
            return max(self.revenue_by_reason.get(key, {}).values(), default=Decimal(0)), self.reasons[key]

        return sorted((key for key in self.reasons if is_undelivered(*key)), key=weight, reverse=True)

    def copy(self) -> DeliverySummary:
        return DeliverySummary.from_state(self.as_state())

    def as_state(self) -> dict[str, Any]:
        """The complete summary in JSON types, for ``from_state``."""
        return {
            "read": self.read,
            "outcomes": dict(self.outcomes),
            "reasons": [[outcome, reason, count] for (outcome, reason), count in self.reasons.items()],
            "adjusted": self.adjusted,
            "left_out": dict(self.left_out),
            "at_lane_time": self.at_lane_time,
            "revenue": _as_text(self.revenue),
            "unsent_revenue": _as_text(self.unsent_revenue),
            "revenue_by_reason": [
                [outcome, reason, _as_text(amounts)] for (outcome, reason), amounts in self.revenue_by_reason.items()
            ],
            "claimed_by": dict(self.claimed_by),
            "claimed_revenue": _as_text(self.claimed_revenue),
            "first_details": [[outcome, reason, detail] for (outcome, reason), detail in self.first_details.items()],
            "first_event_at": self.first_event_at.isoformat() if self.first_event_at else None,
            "last_event_at": self.last_event_at.isoformat() if self.last_event_at else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DeliverySummary:
        """The summary that ``as_state`` described."""
        first, last = state["first_event_at"], state["last_event_at"]
        return cls(
            read=state["read"],
            outcomes=Counter(state["outcomes"]),
            reasons=Counter({(outcome, reason): count for outcome, reason, count in state["reasons"]}),
            adjusted=state["adjusted"],
            left_out=Counter(state["left_out"]),
            revenue=_as_decimals(state["revenue"]),
            revenue_by_reason={
                (outcome, reason): _as_decimals(amounts) for outcome, reason, amounts in state["revenue_by_reason"]
            },
            # Checkpoints of earlier versions lack these.
            at_lane_time=state.get("at_lane_time", 0),
            unsent_revenue=_as_decimals(state.get("unsent_revenue", {})),
            claimed_by=Counter(state.get("claimed_by", {})),
            claimed_revenue=_as_decimals(state.get("claimed_revenue", {})),
            first_details={(outcome, reason): detail for outcome, reason, detail in state["first_details"]},
            first_event_at=datetime.fromisoformat(first) if first else None,
            last_event_at=datetime.fromisoformat(last) if last else None,
        )

    def as_result(self, *, seconds: float, rejected_path: str | None, environment: str = "") -> dict[str, Any]:
        """A small dict in JSON types for XCom, the outlet asset's event and the log.

        :param environment: as people are shown it; empty where each row names its own.
        """
        by_reason: Counter[str] = Counter()
        for (_, reason), count in self.reasons.items():
            by_reason[reason] += count
        return {
            "read": self.read,
            **{outcome.value: self.outcomes[outcome.value] for outcome in FINAL_OUTCOMES},
            "adjusted": self.adjusted,
            "by_reason": dict(by_reason.most_common()),
            "revenue": _as_plain(self.revenue),
            "not_delivered": [
                {
                    "outcome": outcome,
                    "reason": reason,
                    "events": self.reasons[outcome, reason],
                    "revenue": _as_plain(self.revenue_by_reason.get((outcome, reason), {})),
                }
                for outcome, reason in self.undelivered_reasons()
            ],
            "first_event_at": self.first_event_at.isoformat() if self.first_event_at else None,
            "last_event_at": self.last_event_at.isoformat() if self.last_event_at else None,
            "seconds": round(seconds, 3),
            "rejected_path": rejected_path,
            "environment": environment or None,
        }


def _add_revenue(amounts: dict[str, Decimal], event: Event) -> None:
    if event.revenue is not None:
        currency = event.params["currency"]
        amounts[currency] = amounts.get(currency, _NOTHING) + event.revenue


def _first_detail(receipt: Receipt) -> str:
    """The row and its error, for the log."""
    event = f" (event {escape(receipt.event_id, _LONGEST_ID)})" if receipt.event_id else ""
    return f"row {receipt.position:,}{event}: {escape(mask_values(receipt.detail), _LONGEST_DETAIL)}".removesuffix(": ")


def _as_text(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: format(amount, "f") for currency, amount in amounts.items()}


def _as_plain(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: plain(amount) for currency, amount in sorted(amounts.items())}


def _as_decimals(amounts: Mapping[str, str]) -> dict[str, Decimal]:
    return {currency: Decimal(amount) for currency, amount in amounts.items()}
