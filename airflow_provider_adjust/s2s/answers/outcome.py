"""The outcomes that an event can have, and what an answer means for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Literal

from airflow_provider_adjust.s2s.answers.reasons import REASONS, Kind


class Outcome(StrEnum):
    """How an event ended. A receipt has one of the first eight; ``retry`` and ``halt`` are verdicts on the way."""

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


#: Reasons of a halt that something other than Adjust caused. A later try may reach Adjust, so the task is retried.
NOT_FROM_ADJUST = frozenset(reason.code for reason in REASONS if reason.kind is Kind.NOT_ADJUST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for the event that it answers.

    ``reason`` is a short code to count by, ``message`` the known words of Adjust's message, ``remedy`` what to do
    about a halt. Where Adjust did not answer, ``message`` is the content type and the known words of what came.
    ``retry_after`` is in seconds; ``slow_down`` asks all lanes to slow down.
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
        """Whether another request may bring an answer that decides about an event in doubt: no status line came, a 200 with
        a body that broke off, or a gateway's error.

        A 200 with too long a body is not: the next answer would be the same, and the event would count each time.
        """
        status = self.http_status
        return (status is None or status == 200 or status >= 500) and self.reason != "answer_too_long"

    @property
    def leaves_in_doubt(self) -> bool:
        """Whether Adjust may have recorded the event although the answer is no success.

        What a 202 means for the event is not documented. A 2xx in words that are not Adjust's may stand in place of
        Adjust's own answer.
        """
        status = self.http_status or 0
        return status == 202 or (self.reason in NOT_FROM_ADJUST and 200 <= status < 300)


#: What is done with an event in doubt: sent again, left to a person, or looked up in the Device API first.
OnInDoubt = Literal["resend", "hold", "verify"]
#: Whether an event id names one event of its event token, or one of the whole app.
IdScope = Literal["event", "app"]
#: What is done with an event that is older than the last one that was sent in one of its lanes: it is refused, or sent with
#: the time of that one.
Late = Literal["refuse", "send_at_lane_time"]
#: What is done when events were not sent because the ledger has them from another DAG: the log says so, the delivery fails at
#: its end, or nothing.
OnForeignClaim = Literal["warn", "error", "allow"]
#: The order in which outcomes are shown; together they count every row that was read.
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
#: Outcomes that leave Adjust without the event.
UNDELIVERED = frozenset({Outcome.REJECTED, Outcome.INVALID, Outcome.EXPIRED, Outcome.IN_DOUBT, Outcome.HELD})
#: The reason of a skipped event that the ledger was made to forget, except for its id.
ERASED = "erased"
#: The reason of an event of a device that opted out or was erased: as Adjust answers, or as the ledger remembers, which
#: costs no request.
OPTED_OUT = "device_opted_out"
#: Reasons of skipped events that earlier runs have settled, as the ledger knows: they are not news of this run.
SETTLED_BEFORE = frozenset({"delivered_before", "refused_before", ERASED})
#: The reason of an event that a dry run would send.
DRY_RUN = "dry_run"
#: The reason of a skipped event that Adjust has with another content. It counts as a refusal, since what the row says did
#: not arrive.
DIFFERS = "differs_from_delivered"
#: Outcomes that a later try may turn into a delivery.
UNRESOLVED = frozenset({Outcome.IN_DOUBT, Outcome.HELD})


class Recorded(Enum):
    """Whether Adjust has recorded an event in doubt."""

    YES = "recorded"
    NO = "absent"
    UNKNOWN = "unknown"


def is_undelivered(outcome: str, reason: str) -> bool:
    """Whether Adjust does not have what a row with this end says."""
    return outcome in UNDELIVERED or reason == DIFFERS
