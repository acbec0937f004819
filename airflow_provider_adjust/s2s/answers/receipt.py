"""The receipt of one event: how it ended and why."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.answers.classify import read_answer
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job


class Receipt(NamedTuple):
    """How one event ended.

    ``position`` is its row's place in the input, from 1. ``reason`` is a short code, empty for a delivery; ``detail`` a
    sentence. ``answer`` is Adjust's last answer as it came. ``attempts`` counts requests.
    ``route`` names the connection that it went through, where there are several.
    ``event`` and ``row`` hold the user's data, device ids included; they are not shown by ``repr``.
    """

    outcome: Outcome
    reason: str
    event_id: str | None
    position: int
    detail: str = ""
    http_status: int | None = None
    answer: bytes | None = None
    attempts: int = 0
    event: Event | None = None
    row: Any = None
    route: str | None = None

    @property
    def response(self) -> Any:
        """Adjust's whole answer, parsed where it was JSON; None where there was none.

        For iOS 14+ it holds the SKAdNetwork conversion values that the app's server must apply.
        """
        return None if self.answer is None else read_answer(self.answer)

    def with_row(self, row: Any) -> Receipt:
        """The same receipt with another row."""
        return self._replace(row=row)

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in zip(self._fields[:6], self, strict=False))
        return f"Receipt({', '.join(shown)}, attempts={self.attempts})"


def receipt_for(
    job: Job,
    outcome: Outcome,
    reason: str,
    detail: str,
    *,
    http_status: int | None = None,
    answer: bytes | None = None,
    attempts: int = 0,
) -> Receipt:
    """The receipt of a job's event."""
    return Receipt(
        outcome,
        reason,
        job.event.event_id,
        job.position,
        detail,
        http_status,
        answer,
        attempts,
        job.event,
        job.row,
        job.route,
    )


def held_behind_another(job: Job) -> Receipt:
    detail = "an earlier event of the same device and event token is unresolved; this one goes after it next time"
    return receipt_for(job, Outcome.HELD, "lane_held", detail)


def still_in_doubt(job: Job) -> Receipt:
    detail = (
        "an earlier try sent this event and got no answer; check in Adjust whether it was recorded; if not, send it as a "
        "separate row"
    )
    return receipt_for(job, Outcome.IN_DOUBT, "no_answer", detail)


def stopped_before_sent(job: Job, *, doubtful: bool, attempts: int) -> Receipt:
    outcome = Outcome.IN_DOUBT if doubtful else Outcome.HELD
    return receipt_for(job, outcome, "stopped", "the delivery stopped before this event was sent", attempts=attempts)
