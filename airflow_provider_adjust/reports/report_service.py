"""Adjust's Report Service with one user's API token: what is asked, what its answers mean, and what is asked again.

Source: Adjust, Report Service API. Reports are slow: the read timeout is minutes. 204 is a report on nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_adjust.reports.conversation import Conversation, Pause
from airflow_provider_adjust.reports.errors import ReportRefused, ReportUnavailable
from airflow_provider_adjust.reports.report import Report, read_json, read_report
from airflow_provider_adjust.s2s.api_call import ApiAnswer, ApiCall, ApiUnreachable

BASE_PATH = "/reports-service"
#: 429 is more than 50 simultaneous requests, 504 a query that took too long (Report Service API, response codes).
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 120.0
_SHOWN = 300
#: Bytes of a report: days and event tokens make thousands of lines at most, which is far below.
_LONGEST_REPORT = 64_000_000


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What a report is to show. ``filters`` are further parameters, such as ``app_token__in`` or ``utc_offset``."""

    dimensions: Sequence[str]
    metrics: Sequence[str]
    date_period: str
    filters: Mapping[str, str] = field(default_factory=dict)

    def as_params(self) -> dict[str, str]:
        return {
            "dimensions": ",".join(self.dimensions),
            "metrics": ",".join(self.metrics),
            "date_period": self.date_period,
            # Days as 2026-05-01, not as a person in some country reads them.
            "format_dates": "false",
            **self.filters,
        }


@dataclass(frozen=True, slots=True)
class ReportService:
    """Conversations with the Report Service.

    :param timeout: seconds to connect and to wait for an answer.
    :param attempts: how often a request is sent while Adjust is busy or cannot be reached.
    :param spread: draws a wait between two bounds, so that tasks that were refused together do not return together.
    """

    endpoint: str
    api_token: str = field(repr=False)
    timeout: tuple[float, float] = (5.0, 600.0)
    attempts: int = 5
    spread: Callable[[float, float], float] = field(default=random.uniform, repr=False)

    def report(self, query: ReportQuery) -> Conversation[Report]:
        """Ask for a report.

        :raises ReportRefused: Adjust refuses the request.
        :raises ReportUnavailable: no report came.
        """
        answer = yield from self._ask("/report", query.as_params())
        if answer.status == 204:
            return Report()
        return read_report(answer.body, query.dimensions, query.metrics)

    def event_slugs(self, app_token: str) -> Conversation[dict[str, str]]:
        """Ask how the app's events are named in metrics: slug by event token.

        A slug may stand for several events, of several apps, so a report that uses it is filtered by app.
        """
        answer = yield from self._ask("/events", {})
        events = read_json(answer.body) if answer.status != 204 else []
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            raise ReportRefused("the Report Service gave no list of events; check the connection's report_endpoint")
        return {
            token: str(event["id"])
            for event in events
            if "id" in event and app_token in _names(event.get("app_token"))
            for token in _names(event.get("tokens"))
        }

    def check_token(self) -> Conversation[None]:
        """Ask for the list of the user's apps, which is cheap and needs a token that is accepted."""
        yield from self._ask("/filters_data", {"required_filters": "apps"})

    def _ask(self, path: str, params: Mapping[str, str]) -> Conversation[ApiAnswer]:
        call = ApiCall(self.endpoint + BASE_PATH + path, params, self.api_token, self.timeout, _LONGEST_REPORT)
        attempt = 0
        while True:
            reply = yield call
            attempt += 1
            if isinstance(reply, ApiAnswer) and reply.status not in _BUSY:
                self._check(reply)
                return reply
            if attempt >= self.attempts:
                raise ReportUnavailable(_why_unavailable(reply, attempt))
            yield Pause(self._wait(attempt, reply.retry_after if isinstance(reply, ApiAnswer) else None))

    def _wait(self, attempt: int, retry_after: str | None) -> float:
        if retry_after is not None and retry_after.strip().isdecimal():
            return min(float(retry_after), _LONGEST_WAIT)
        longest = min(_FIRST_WAIT * 2.0 ** (attempt - 1), _LONGEST_WAIT)
        return self.spread(longest / 2, longest)

    def _check(self, answer: ApiAnswer) -> None:
        if answer.status in {200, 204}:
            return
        if answer.status == 401:
            raise ReportRefused(
                "the Report Service refuses the API token (status 401); put your user's API token, from your account "
                "profile in Adjust, into the connection: it is not the S2S security token"
            )
        if answer.status == 403:
            raise ReportRefused(
                "the Report Service refuses the request (status 403); the API token's user has no right to it: check "
                "the user's apps and permissions in Adjust"
            )
        said = " ".join(answer.text.replace(self.api_token, "…").split())[:_SHOWN]
        raise ReportRefused(
            f"the Report Service refuses the request (status {answer.status}: {said or 'no text'}); check what is asked "
            "for, and the connection's report_endpoint"
        )


def _why_unavailable(reply: ApiAnswer | ApiUnreachable | None, attempts: int) -> str:
    tried = "once" if attempts == 1 else f"{attempts} times"
    if not isinstance(reply, ApiAnswer):
        return f"the Report Service cannot be reached ({reply}), asked {tried}; see the connection's report_timeout"
    cause = {429: "too many requests at once", 504: "the query was too slow"}.get(reply.status, "it is busy")
    return f"the Report Service answers status {reply.status} ({cause}), asked {tried}; try again later"


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else [value] if isinstance(value, str) else []
