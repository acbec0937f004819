"""Why a delivery stops before its end, as the errors that say so."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_adjust.s2s.answers.outcome import Verdict
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryHalted


def _words(verdict: Verdict) -> str:
    """The answer in short, for a message."""
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {verdict.message}" if verdict.message else status


def halted(verdict: Verdict) -> DeliveryHalted:
    """Adjust refuses credentials, app or account, so that no event of the batch can succeed."""
    return DeliveryHalted(
        f"Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {_words(verdict)}): {verdict.remedy}"
    )


def routes_halted(said: Iterable[tuple[str | None, str, Verdict]], *, others_were_sent: bool) -> DeliveryHalted:
    """Adjust refuses all events of some routes; of each the name, the connection, and the answer."""
    routes = [
        f"route {route!r}{f' (connection {connection!r})' if connection else ''}: {verdict.reason}; {_words(verdict)}: "
        f"{verdict.remedy}"
        for route, connection, verdict in said
    ]
    others = "; the other routes' events were sent" if others_were_sent else ""
    return DeliveryHalted(f"Adjust refuses all events of {', and of '.join(routes)}{others}")


def retry_after_too_long(verdict: Verdict) -> AdjustUnreachable:
    """Adjust asks for a pause in which a task should not keep its worker."""
    return AdjustUnreachable(
        f"Adjust asks to wait {verdict.retry_after:.0f} s ({_words(verdict)}); retry then",
        retry_after=verdict.retry_after,
    )


def nothing_settled(attempts: int, verdict: Verdict) -> AdjustUnreachable:
    """An event used up its attempts, and meanwhile no other was settled."""
    return AdjustUnreachable(
        f"no event could be settled in {attempts} attempts, the last ended with {_words(verdict)}; "
        "check the endpoint, the network and Adjust's status page, then retry the task",
        retry_after=verdict.retry_after,
    )
