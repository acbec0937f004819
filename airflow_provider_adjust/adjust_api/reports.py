"""Adjust's Report Service with one user's API token: what is asked, what its answers mean, and what is asked again.

Source: Adjust, Report Service API. Reports are slow: the read timeout is minutes. 204 is a report on nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_adjust.adjust_api.conversation import Conversation, Pause
from airflow_provider_adjust.adjust_api.errors import ReportRefused, ReportUnavailable
from airflow_provider_adjust.adjust_api.http import ApiAnswer, ApiCall, ApiUnreachable

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


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row: its dimensions as text, its metrics as exact numbers."""

    dimensions: Mapping[str, str]
    metrics: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Report:
    """The rows, the totals of each metric, and Adjust's warnings. A report on nothing has no rows and no totals."""

    rows: tuple[ReportRow, ...] = ()
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_report(body: bytes, dimensions: Sequence[str], metrics: Sequence[str]) -> Report:
    """Read the body of an answer with status 200.

    :raises ReportRefused: it is not what Adjust documents.
    """
    content = read_json(body)
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReportRefused("the Report Service gave no list of rows; check the connection's report_endpoint")
    totals = content.get("totals") or {}
    return Report(
        rows=tuple(
            ReportRow(
                dimensions={name: str(_value(row, name)) for name in dimensions},
                metrics={name: _number(name, _value(row, name)) for name in metrics},
            )
            for row in rows
        ),
        totals={name: _number(name, totals[name]) for name in metrics if name in totals},
        warnings=tuple(map(str, content.get("warnings") or ())),
    )


def read_json(body: bytes) -> Any:
    """The answer's JSON, its numbers exact.

    :raises ReportRefused: it is none.
    """
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise ReportRefused(
            "the Report Service gave an answer that is not JSON; check the connection's report_endpoint"
        ) from None


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise ReportRefused(f"the Report Service gave a row without {name!r}, which was asked for")
    return row[name]


def _number(name: str, value: Any) -> Decimal:
    if value is None or value == "":
        return Decimal(0)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ReportRefused(f"the Report Service gave a value of {name!r} that is no number")
    return number
