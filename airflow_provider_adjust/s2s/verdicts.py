"""From the end of a request to a receipt: what a completion means, and how that is said."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_adjust.s2s.echoes import without_echoes
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryHalted
from airflow_provider_adjust.s2s.receipts import Receipt
from airflow_provider_adjust.s2s.responses import Outcome, Verdict, classify
from airflow_provider_adjust.s2s.schedule import Job
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target


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


def redacted(verdict: Verdict, job: Job, target: Target) -> Verdict:
    """The verdict without what the answer repeats of the event and the token."""
    return replace(verdict, message=without_echoes(verdict.message, job.event.params, target.s2s_token))


# Why a delivery stops.


def halted(verdict: Verdict) -> DeliveryHalted:
    return DeliveryHalted(
        f"Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {words(verdict)}): {verdict.remedy}"
    )


def asked_to_wait(seconds: float, verdict: Verdict) -> AdjustUnreachable:
    return AdjustUnreachable(f"Adjust asks to wait {seconds:.0f} s ({words(verdict)}); retry then", retry_after=seconds)


def nothing_settled(job: Job, verdict: Verdict) -> AdjustUnreachable:
    return AdjustUnreachable(
        f"no event could be settled in {job.attempts} attempts, the last ended with {words(verdict)}; "
        "check the endpoint, the network and Adjust's status page, then retry the task",
        retry_after=verdict.retry_after,
    )


# How an event ends.


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


def held_behind_another(job: Job) -> Receipt:
    detail = "an earlier event of the same device and event token is unresolved; this one goes after it next time"
    return receipt_for(job, Outcome.HELD, "lane_held", detail)


def still_in_doubt(job: Job) -> Receipt:
    detail = "an earlier try sent this event and got no answer; look into Adjust, then send it as a row of its own"
    return receipt_for(job, Outcome.IN_DOUBT, "no_answer", detail)


def stopped_before_sent(job: Job) -> Receipt:
    outcome = Outcome.IN_DOUBT if job.doubtful else Outcome.HELD
    return receipt_for(job, outcome, "stopped", "the delivery stopped before this event was sent")
