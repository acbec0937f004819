"""The verdicts on an event that is sent again although an earlier request may have recorded it."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_adjust.s2s.answers.outcome import Verdict
from airflow_provider_adjust.s2s.answers.receipt import REFUSED_AFTER_RESEND, TOO_MANY_RESENDS, Ending
from airflow_provider_adjust.s2s.delivery.lanes import Pending

#: Reasons for which Adjust refuses an event that is older than one it has.
_REFUSED_FOR_ORDER = frozenset({"bad_event_state"})


def is_refused_after_resend(pending: Pending, verdict: Verdict) -> bool:
    """Whether Adjust refused the event for its order, and an earlier request may have recorded it."""
    return verdict.reason in _REFUSED_FOR_ORDER and (pending.doubtful or pending.job.after_kill)


def refused_after_resend(verdict: Verdict) -> Verdict:
    """The refusal turned into doubt: it is not known whether Adjust has the event, which can never be sent again."""
    return _ending(verdict, REFUSED_AFTER_RESEND)


def resent_too_often(verdict: Verdict) -> Verdict:
    """The verdict on the last lost answer of an event that is not sent again."""
    return _ending(verdict, TOO_MANY_RESENDS)


def _ending(verdict: Verdict, ending: Ending) -> Verdict:
    return replace(verdict, outcome=ending.outcome, reason=ending.reason, message=ending.detail)
