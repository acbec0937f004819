"""The errors with which a delivery stops before its end."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_adjust.s2s.answers.outcome import NOT_FROM_ADJUST, Verdict
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryHalted, DeliveryStopped, NotAdjust
from airflow_provider_adjust.s2s.redaction import escape

#: The most characters of another server's answer in the error. The receipt has more.
_FIRST_WORDS = 60


def _words(verdict: Verdict, longest: int | None = None) -> str:
    """The shortened answer, for a message."""
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {escape(verdict.message, longest)}" if verdict.message else status


def halted(verdict: Verdict) -> DeliveryStopped:
    """The error if no event of the batch can succeed: Adjust refuses credentials, app or account, or something else answers."""
    if verdict.reason in NOT_FROM_ADJUST:
        return NotAdjust(f"something other than Adjust answered, nothing more was sent {_reason(verdict)}")
    return DeliveryHalted(f"Adjust refuses the whole batch, nothing more was sent {_reason(verdict)}")


def routes_halted(said: Sequence[tuple[str | None, str, Verdict]], *, others_were_sent: bool) -> DeliveryStopped:
    """The error if no event of some routes can succeed, with the name, the connection and the answer of each.

    If something other than Adjust answered for one of them, a retry may send its events.
    """
    lines = []
    for route, connection, verdict in said:
        what = (
            "something other than Adjust answered" if verdict.reason in NOT_FROM_ADJUST else "Adjust refuses its events"
        )
        name = f"route {route!r}" + (f" (connection {connection})" if connection else "")
        lines.append(f"{name}: {what} {_reason(verdict)}")
    if others_were_sent:
        lines.append("the other routes' events were sent")
    kind = NotAdjust if any(verdict.reason in NOT_FROM_ADJUST for _, _, verdict in said) else DeliveryHalted
    return kind("; ".join(lines))


def _reason(verdict: Verdict) -> str:
    words = _words(verdict, _FIRST_WORDS if verdict.reason in NOT_FROM_ADJUST else None)
    return f"({verdict.reason}; {words}): {verdict.remedy}"


def retry_after_too_long(verdict: Verdict) -> AdjustUnreachable:
    """The error if Adjust asks for a pause that is too long to occupy a worker."""
    return AdjustUnreachable(
        f"Adjust asks to wait {verdict.retry_after:.0f} s ({_words(verdict)}); retry then",
        retry_after=verdict.retry_after,
    )


def nothing_settled(attempts: int, verdict: Verdict) -> AdjustUnreachable:
    """The error if an event used up its attempts while no other was settled."""
    return AdjustUnreachable(
        f"no event could be settled in {attempts} attempts, the last ended with {_words(verdict)}; "
        "check the endpoint, the network and Adjust's status page, then retry the task",
        retry_after=verdict.retry_after,
    )
