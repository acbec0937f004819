"""What a run says: a line every few seconds while it goes on, a table when it ends, an error when too much is missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, EventsUnresolved, RejectedBudgetExceeded
from airflow_provider_adjust.s2s.receipts import FINAL_OUTCOMES, UNDELIVERED, UNRESOLVED, DeliverySummary
from airflow_provider_adjust.s2s.responses import Outcome

#: What ``max_rejected`` counts; duplicates are tolerated by default.
_REFUSED = (UNDELIVERED - UNRESOLVED) | {Outcome.DUPLICATE}


def progress_line(
    summary: DeliverySummary, *, seconds: float, expected: int | None = None, slowed_to: int | None = None
) -> str:
    """One line for a long run: counts, share and time left where the total is known, rate, rejects."""
    settled = summary.settled
    rate = settled / seconds if seconds > 0 else 0.0
    parts = [f"{settled:,} events settled"]
    if expected:
        parts[0] = f"{settled:,} of {expected:,} events settled ({settled / expected:.0%})"
    parts.append(f"{summary.outcomes[Outcome.DELIVERED.value]:,} delivered")
    parts.append(f"{summary.count(UNDELIVERED):,} not delivered")
    parts.append(f"{rate:,.0f}/s")
    if slowed_to is not None:
        parts.append(f"slowed down by Adjust to {slowed_to} in flight")
    if expected and rate > 0:
        parts.append(f"about {_duration(max(0, expected - settled) / rate)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def summary_table(summary: DeliverySummary) -> str:
    """Counts by outcome, then what was not delivered by reason, with the revenue that it carries."""
    table = plain_table(("outcome", "events", "revenue"), outcome_rows(summary), right=("events",))
    if reasons := reason_rows(summary):
        table += "\n\n" + plain_table(("reason", "events", "revenue affected"), reasons, right=("events",))
    if summary.first_event_at and summary.last_event_at:
        table += f"\nevents from {summary.first_event_at.isoformat()} to {summary.last_event_at.isoformat()}"
    return table


def outcome_rows(summary: DeliverySummary) -> list[tuple[str, str, str]]:
    """Outcome, count and delivered revenue of each outcome that there was."""
    rows = [("read", f"{summary.read:,}", "")]
    for outcome in FINAL_OUTCOMES:
        if count := summary.outcomes[outcome.value]:
            rows.append((outcome.value, f"{count:,}", _money(summary.revenue) if outcome is Outcome.DELIVERED else ""))
    if summary.adjusted:
        left_out = ", ".join(f"{name} {count:,}" for name, count in summary.left_out.most_common())
        rows.append(("adjusted", f"{summary.adjusted:,}", f"left out: {left_out}"))
    return rows


def reason_rows(summary: DeliverySummary) -> list[tuple[str, str, str]]:
    """Outcome and reason, count and affected revenue of each reason, the most frequent first."""
    return [
        (f"{outcome}: {reason}", f"{count:,}", _money(summary.revenue_by_reason.get((outcome, reason), {})))
        for (outcome, reason), count in summary.reasons.most_common()
    ]


def _money(amounts: dict[str, Decimal]) -> str:
    return ", ".join(f"{amount:,f} {currency}" for currency, amount in sorted(amounts.items()))


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Lines of columns two spaces apart; those named in ``right`` are aligned to the right."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(
            f"{text:>{width}}" if name in right else f"{text:<{width}}"
            for name, text, width in zip(head, line, widths, strict=True)
        ).rstrip()
        for line in (head, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """How much may go wrong before the task fails: never green over lost revenue.

    ``max_rejected`` limits what was refused (rejected, invalid, expired): a count, or a share of the rows read when it is
    a float below 1. Events that are held or in doubt are no refusals: they fail the task unless tolerated by name, since
    a retry may still deliver them. ``tolerate`` names outcomes or reasons that do not count.
    """

    max_rejected: float = 0
    tolerate: frozenset[str] = frozenset({Outcome.DUPLICATE.value})

    def __post_init__(self) -> None:
        if (
            isinstance(self.max_rejected, bool)
            or not isinstance(self.max_rejected, int | float)
            or not self.max_rejected >= 0
        ):
            raise AdjustConfigurationError("max_rejected is a count (0, 1, 2 …) or a share below 1 (0.02)")
        if isinstance(self.max_rejected, float) and self.max_rejected >= 1 and not self.max_rejected.is_integer():
            raise AdjustConfigurationError("max_rejected is a count (0, 1, 2 …) or a share below 1 (0.02)")

    @classmethod
    def of(cls, max_rejected: float, tolerate: Collection[str]) -> FailureBudget:
        """The budget that an operator's arguments describe."""
        if isinstance(tolerate, str):
            raise AdjustConfigurationError(f"tolerate is a list of outcomes and reasons, such as [{tolerate!r}]")
        return cls(max_rejected, frozenset(tolerate))

    def check(self, summary: DeliverySummary, *, rejected_path: str | None) -> None:
        """Raise when more is missing than allowed; the message says what, how much revenue, and what to do.

        :raises EventsUnresolved: events are held or in doubt.
        :raises RejectedBudgetExceeded: more were refused than allowed.
        """
        unresolved = summary.count(UNRESOLVED, self.tolerate)
        refused = summary.count(_REFUSED, self.tolerate)
        if unresolved:
            raise EventsUnresolved(
                f"{unresolved:,} of {summary.read:,} events are held or in doubt, {refused:,} were refused.\n"
                + self._report(summary, rejected_path, "retry the task; what is in doubt may already be in Adjust")
            )
        if refused > self.allowed(summary.read):
            raise RejectedBudgetExceeded(
                f"{refused:,} of {summary.read:,} events were refused; max_rejected allows {self.allowed(summary.read):,}."
                + "\n"
                + self._report(summary, rejected_path, "mend the rows by their reasons and send those again")
            )

    def allowed(self, read: int) -> int:
        share = isinstance(self.max_rejected, float) and self.max_rejected < 1
        # As decimals: 0.29 of 100 is 29, while the product of the floats is just below.
        return int(Decimal(str(self.max_rejected)) * read) if share else int(self.max_rejected)

    @staticmethod
    def _report(summary: DeliverySummary, rejected_path: str | None, remedy: str) -> str:
        where = f"they are in {rejected_path}" if rejected_path else "set rejected_path to have them listed in a file"
        return f"{summary_table(summary)}\nWhat to do: {remedy}; {where}."
