"""The failure budget: how much may be refused before the task fails."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import advice_lines
from airflow_provider_adjust.s2s.answers.outcome import DIFFERS, UNDELIVERED, UNRESOLVED, Outcome
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, EventsUnresolved, RejectedBudgetExceeded

#: What ``max_rejected`` counts; duplicates are tolerated by default.
_REFUSED = (UNDELIVERED - UNRESOLVED) | {Outcome.DUPLICATE}


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """How much may fail before the task fails.

    ``max_rejected`` limits what was refused (rejected, invalid, expired, or delivered before with other content): a count,
    or a share of the rows when it is a float below 1. Rows that earlier runs have settled do not count. Events that are held
    or in doubt are not refusals: they fail the task unless tolerated by name, since a retry may still deliver them.
    ``tolerate`` lists outcomes or reasons that do not count.
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

    def check(self, summary: DeliverySummary, *, rejected_path: str | None, deleted_path: str | None = None) -> None:
        """Raise if more events are missing than allowed; the message says which, how much revenue, and what to do.

        :param deleted_path: the file of an earlier try's refusals, if it was deleted.
        :raises EventsUnresolved: events are held or in doubt.
        :raises RejectedBudgetExceeded: more were refused than allowed.
        """
        where = f"they are in {rejected_path}" if rejected_path else "set rejected_path to have them listed in a file"
        if deleted_path:
            lost = f"the list of an earlier try, {deleted_path}, was deleted"
            where = f"{where}; {lost}" if rejected_path else lost
        unresolved = summary.count(UNRESOLVED, self.tolerate)
        refused = summary.count(_REFUSED, self.tolerate)
        if DIFFERS not in self.tolerate:
            refused += summary.differing
        if unresolved:
            raise EventsUnresolved(
                f"{unresolved:,} of {_considered(summary)} are held or in doubt, {refused:,} were refused.\n"
                + self._report(summary, where, self._retry_or_look_up(summary))
            )
        if refused > (allowed := self.allowed(summary.new)):
            raise RejectedBudgetExceeded(
                f"{refused:,} of {_considered(summary)} were refused; max_rejected allows {allowed:,}.\n"
                + self._report(summary, where, "see each reason; send the rejected file again with its rows corrected")
            )

    def _retry_or_look_up(self, summary: DeliverySummary) -> str:
        for outcome, reason in summary.reasons:
            is_open = outcome in UNRESOLVED and not {outcome, reason} & self.tolerate
            if is_open and (outcome == Outcome.HELD or reason_of(reason).retry_helps):
                return "retry the task; events in doubt may already be in Adjust"
        return "look up the events in doubt in Adjust; a retry does not send them"

    def allowed(self, rows: int) -> int:
        share = isinstance(self.max_rejected, float) and self.max_rejected < 1
        # As decimals: 0.29 of 100 is 29, but the product of the floats is slightly less.
        return int(Decimal(str(self.max_rejected)) * rows) if share else int(self.max_rejected)

    def _report(self, summary: DeliverySummary, where: str, remedy: str) -> str:
        # Without the tables, which the log has just above.
        advice = "\n".join(advice_lines(summary, self.tolerate))
        return f"{advice}\nWhat to do: {remedy}; {where}."


def _considered(summary: DeliverySummary) -> str:
    """The events that the budget is a share of, and why they are fewer than were read."""
    if not summary.known:
        return f"{summary.new:,} events"
    return f"{summary.new:,} new events ({summary.known:,} of {summary.read:,} were settled by earlier runs)"
