"""Why a delivery stops before its end, as the errors that say so."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_adjust.s2s.answers.outcome import NOT_FROM_ADJUST, Verdict
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryHalted, DeliveryStopped, NotAdjust
from airflow_provider_adjust.s2s.redaction import escape

#: Characters of an answer that is not Adjust's, in the error's message. The receipt has more.
_FIRST_WORDS = 60


def _words(verdict: Verdict, longest: int | None = None) -> str:
    """The answer in short, for a message."""
    status = f"status {verdict.http_status}" if verdict.http_status else verdict.reason
    return f"{status}: {escape(verdict.message, longest)}" if verdict.message else status


class HaltedRoutes:
    """Routes of which no event can succeed. While there is another route, the delivery goes on with that."""

    def __init__(self, routes: Mapping[str | None, Route]) -> None:
        self._routes = routes
        self._halted: set[str | None] = set()
        #: Why the first of them was halted.
        self.error: Exception | None = None

    def __contains__(self, route: str | None) -> bool:
        return route in self._halted

    def add(self, route: str | None, verdict: Verdict) -> Exception | None:
        """Halt the route; return why the whole delivery has to stop, or None while another route is left."""
        where = "" if route is None else f"route {route!r} (connection {self._routes[route].connection}): "
        self._halted.add(route)
        self.error = self.error or halted(verdict, where)
        return self.error if len(self._halted) == len(self._routes) else None


def halted(verdict: Verdict, where: str = "") -> DeliveryStopped:
    """No event of the batch can succeed: Adjust refuses credentials, app or account, or something else answers."""
    if verdict.reason in NOT_FROM_ADJUST:
        words = _words(verdict, _FIRST_WORDS)
        return NotAdjust(
            f"{where}something other than Adjust answered, nothing more was sent ({verdict.reason}; {words}): {verdict.remedy}"
        )
    return DeliveryHalted(
        f"{where}Adjust refuses the whole batch, nothing more was sent ({verdict.reason}; {_words(verdict)}): {verdict.remedy}"
    )


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
