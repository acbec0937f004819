"""The receipt of one event: how it ended and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.answers.classify import read_answer
from airflow_provider_adjust.s2s.answers.outcome import DIFFERS, OPTED_OUT, Outcome, is_undelivered
from airflow_provider_adjust.s2s.events.event import Event
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.redaction import shows


@shows("outcome", "reason", "event_id", "position", "detail", "http_status", "attempts")
class Receipt(NamedTuple):
    """How one event ended.

    - ``outcome``, ``reason`` and ``detail``: the outcome, a short code (empty for a delivery), and a sentence.
    - ``event_id`` and ``position``: the event's id, and the place of its row in the input, from 1.
    - ``http_status`` and ``answer``: those of Adjust's last answer, unchanged.
    - ``attempts`` and ``lost_answers``: how many requests were made, and how many got no known answer, over all tries.
    - ``route``: the name of the connection, if there are several.
    - ``claimed_by``: the other DAG that has the event in the ledger, so that it was not sent; empty for a sender outside
      Airflow.
    - ``sent_at``: the time that was sent instead of the event's own, if it was too late for its lanes.
    - ``event`` and ``row``: the user's data, including device ids. ``repr`` does not show them.
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
    lost_answers: int = 0
    route: str | None = None
    claimed_by: str | None = None
    sent_at: datetime | None = None

    @property
    def settled_before(self) -> bool:
        """Whether an earlier try or run settled it, so that this one neither sent it nor looked it up."""
        asked = self.attempts or self.lost_answers or self.is_refused_here
        return not asked and self.outcome in _NEED_A_REQUEST and self.reason != DIFFERS

    @property
    def is_refused_here(self) -> bool:
        """Whether the ledger refused it because the device opted out or was erased, without a request to Adjust."""
        return self.reason == OPTED_OUT and self.http_status is None

    @property
    def is_undelivered(self) -> bool:
        """Whether Adjust lacks what the row says."""
        return is_undelivered(self.outcome, self.reason)

    @property
    def response(self) -> Any:
        """Adjust's whole answer, parsed if it is JSON; None without an answer.

        For iOS 14 and newer it holds the SKAdNetwork conversion values that the app's server must apply.
        """
        return None if self.answer is None else read_answer(self.answer)

    def with_row(self, row: Any) -> Receipt:
        """The same receipt with another row."""
        return self._replace(row=row)


#: Outcomes that require an answer of Adjust.
_NEED_A_REQUEST = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.SKIPPED})


def receipt_for(
    job: Job,
    outcome: Outcome,
    reason: str,
    detail: str,
    *,
    http_status: int | None = None,
    answer: bytes | None = None,
    attempts: int = 0,
    lost_answers: int = 0,
    sent_at: datetime | None = None,
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
        lost_answers,
        job.route,
        sent_at=sent_at,
    )


def held_behind_another(job: Job) -> Receipt:
    detail = "an earlier event of the same device and event token is unresolved; this one goes after it next time"
    return receipt_for(job, Outcome.HELD, "lane_held", detail)


def still_in_doubt(job: Job) -> Receipt:
    detail = (
        "an earlier try sent this event and got no answer; check in Adjust whether it was recorded; if not, send it as a "
        "separate row"
    )
    return receipt_for(job, Outcome.IN_DOUBT, "no_answer", detail, lost_answers=job.lost_answers)


def stopped_before_sent(job: Job, *, doubtful: bool, attempts: int, lost_answers: int = 0) -> Receipt:
    outcome = Outcome.IN_DOUBT if doubtful else Outcome.HELD
    detail = "the delivery stopped before this event was sent"
    return receipt_for(job, outcome, "stopped", detail, attempts=attempts, lost_answers=lost_answers)


class Ending(NamedTuple):
    """How an event ends after which no further request can settle it."""

    outcome: Outcome
    reason: str
    detail: str


#: The event was sent again after a lost answer as often as ``max_resends`` allows.
TOO_MANY_RESENDS = Ending(
    Outcome.IN_DOUBT,
    "too_many_resends",
    "no answer came to any of its requests, as many as max_resends allows; check in Adjust whether it was recorded; if "
    "not, send it as a separate row",
)
#: Adjust refused the event for its order, but an earlier request may have recorded it.
REFUSED_AFTER_RESEND = Ending(
    Outcome.IN_DOUBT,
    "refused_after_resend",
    "an earlier request may have recorded it, and Adjust now has a later event of the device; check in Adjust whether it "
    "was recorded",
)


def unanswered_too_often(job: Job) -> Receipt:
    return receipt_for(job, *TOO_MANY_RESENDS, lost_answers=job.lost_answers)


def refused_after_resend(job: Job) -> Receipt:
    return receipt_for(job, *REFUSED_AFTER_RESEND, lost_answers=job.lost_answers)
