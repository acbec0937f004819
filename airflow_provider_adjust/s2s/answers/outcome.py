"""The outcomes that an event can have, and what an answer means for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Literal

from airflow_provider_adjust.s2s.answers.reasons import REASONS, Kind


class Outcome(StrEnum):
    """How an event ended. A receipt has one of the first eight; ``retry`` and ``halt`` are intermediate verdicts."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    INVALID = "invalid"
    EXPIRED = "expired"
    IN_DOUBT = "in_doubt"
    HELD = "held"
    SKIPPED = "skipped"
    RETRY = "retry"
    HALT = "halt"


#: Reasons of a halt that Adjust did not cause. A later try may reach Adjust, so the task is retried.
NOT_FROM_ADJUST = frozenset(reason.code for reason in REASONS if reason.kind is Kind.NOT_ADJUST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for the event that it answers.

    ``reason`` is a short code to count by, ``message`` the known words of Adjust's message, ``remedy`` what to do about a
    halt. If something else answered, ``message`` is the content type and the known words of that answer. ``retry_after`` is in
    seconds; ``slow_down`` asks all lanes to slow down.
    """

    outcome: Outcome
    reason: str
    message: str = ""
    remedy: str = ""
    retry_after: float | None = None
    slow_down: bool = False
    http_status: int | None = None

    @property
    def may_be_resent(self) -> bool:
        """Whether another request may settle an event in doubt: there was no status line, a 200 with an incomplete body, or a
        gateway's error.

        Not for a 200 with too long a body: the next answer would be the same, and Adjust would count the event each time.
        """
        status = self.http_status
        return (status is None or status == 200 or status >= 500) and self.reason != "answer_too_long"

    @property
    def leaves_in_doubt(self) -> bool:
        """Whether Adjust may have recorded the event although the answer is not a success.

        Adjust does not document what a 202 means for the event. A 2xx with another text may replace Adjust's own answer.
        """
        status = self.http_status or 0
        return status == 202 or (self.reason in NOT_FROM_ADJUST and 200 <= status < 300)


#: What to do with an event in doubt: send it again, leave it to a person, or look it up in the Device API first.
OnInDoubt = Literal["resend", "hold", "verify"]
#: Whether event ids are unique within an event token, or within the app.
IdScope = Literal["event", "app"]
#: What to do with an event that is older than the last one sent in one of its lanes: refuse it, or send it with that event's
#: time.
Late = Literal["refuse", "send_at_lane_time"]
#: What to do about events that were not sent because the ledger has them from another DAG: warn in the log, fail at the end of
#: the delivery, or nothing.
OnForeignClaim = Literal["warn", "error", "allow"]
#: The outcomes in display order; together they count every row that was read.
FINAL_OUTCOMES = (
    Outcome.DELIVERED,
    Outcome.DUPLICATE,
    Outcome.SKIPPED,
    Outcome.REJECTED,
    Outcome.INVALID,
    Outcome.EXPIRED,
    Outcome.IN_DOUBT,
    Outcome.HELD,
)
#: Outcomes of events that Adjust does not have.
UNDELIVERED = frozenset({Outcome.REJECTED, Outcome.INVALID, Outcome.EXPIRED, Outcome.IN_DOUBT, Outcome.HELD})
#: The reason of a skipped event that was erased from the ledger, except for its id.
ERASED = "erased"
#: The reasons of an event of a device that opted out or was erased: Adjust's answer, or the ledger's record without a request.
OPTED_OUT = "device_opted_out"
#: Reasons of skipped events that earlier runs settled, according to the ledger. They are not news of this run.
SETTLED_BEFORE = frozenset({"delivered_before", "refused_before", ERASED})
#: The reason of an event that a dry run would send.
DRY_RUN = "dry_run"
#: The reason of a skipped event that Adjust has with other content. It counts as a refusal, since this content did not arrive.
DIFFERS = "differs_from_delivered"
#: Outcomes that a later try may turn into a delivery.
UNRESOLVED = frozenset({Outcome.IN_DOUBT, Outcome.HELD})


class Recorded(Enum):
    """Whether Adjust has recorded an event in doubt."""

    YES = "recorded"
    NO = "absent"
    UNKNOWN = "unknown"


def is_undelivered(outcome: str, reason: str) -> bool:
    """Whether a row with this outcome and reason did not reach Adjust."""
    return outcome in UNDELIVERED or reason == DIFFERS
