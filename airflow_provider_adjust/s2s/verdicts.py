"""From the end of a request to a receipt: what a completion means, and how that is said."""

from __future__ import annotations

from airflow_provider_adjust.s2s.receipts import Receipt
from airflow_provider_adjust.s2s.responses import Outcome, Verdict, classify
from airflow_provider_adjust.s2s.schedule import Job
from airflow_provider_adjust.s2s.transports import Completion, Failure


def judge(completion: Completion) -> Verdict:
    """Return the verdict on an answer, or on the lack of one."""
    if completion.failure is None:
        return classify(completion.status or 0, completion.body, retry_after=completion.retry_after)
    message = completion.failure_name
    if completion.failure is Failure.NOT_SENT:
        return Verdict(Outcome.RETRY, "connection_failed", message)
    if completion.failure is Failure.TLS:
        remedy = "check the connection's endpoint and the certificates that the worker trusts"
        return Verdict(Outcome.HALT, "tls_refused", message, remedy)
    if completion.status is not None and completion.status >= 500:
        return Verdict(Outcome.RETRY, f"http_{completion.status}", message, http_status=completion.status)
    return Verdict(Outcome.IN_DOUBT, "no_answer", message, http_status=completion.status)


def words(verdict: Verdict) -> str:
    """The answer in a few words, for a message."""
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {verdict.message}" if verdict.message else status


def halt_message(verdict: Verdict) -> str:
    return (
        f"Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {words(verdict)}): {verdict.remedy}"
    )


def receipt_for(
    job: Job, outcome: Outcome, reason: str, detail: str, *, http_status: int | None = None, answer: bytes | None = None
) -> Receipt:
    """The receipt of an event that ends so."""
    return Receipt(
        outcome,
        reason,
        job.event.event_id,
        job.position,
        detail,
        http_status,
        answer,
        job.attempts,
        job.event,
        job.row,
    )
