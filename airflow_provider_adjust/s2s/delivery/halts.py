"""Halted routes: Adjust refuses all their events, while those of other routes are still sent."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_adjust.s2s.answers.outcome import Verdict
from airflow_provider_adjust.s2s.answers.receipt import Receipt, stopped_before_sent
from airflow_provider_adjust.s2s.delivery.lanes import Pending
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.stops import halted, routes_halted
from airflow_provider_adjust.s2s.errors import DeliveryStopped


class Halts:
    """The halted routes, with the first answer that halted each."""

    def __init__(self, routes: Mapping[str | None, Route]) -> None:
        self._routes = routes
        self._verdicts: dict[str | None, Verdict] = {}

    def __contains__(self, route: str | None) -> bool:
        return route in self._verdicts

    @property
    def are_all(self) -> bool:
        """Whether all routes are halted."""
        return len(self._verdicts) == len(self._routes)

    def add(self, route: str | None, verdict: Verdict) -> None:
        self._verdicts.setdefault(route, verdict)

    def error(self) -> DeliveryStopped | None:
        """The error that names the halted routes and their connections; None if there are none."""
        if not self._verdicts:
            return None
        if len(self._routes) == 1:
            return halted(next(iter(self._verdicts.values())))
        said = [(route, self._routes[route].connection, verdict) for route, verdict in self._verdicts.items()]
        return routes_halted(said, others_were_sent=not self.are_all)

    def ending(self, stopped: Exception | None, source_error: Exception | None) -> Exception | None:
        """The error that ends the delivery. Other errors have priority over a halt, since a retry may help."""
        halt = self.error()
        if halt and isinstance(source_error, DeliveryStopped):
            source_error = None  # the checkpoint is full of a halted route's events, and would be again
        return stopped or source_error or halt


def unsent(pending: Pending) -> Receipt:
    """The receipt of an event that is not sent, since the delivery or its route was stopped."""
    return stopped_before_sent(
        pending.job, doubtful=pending.doubtful, attempts=pending.attempts, lost_answers=pending.lost_answers
    )
