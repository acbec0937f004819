"""Adjust's Report Service: requests, responses and retries.

Source: Adjust, Report Service API. Reports are slow, so the read timeout is minutes. Status 204 is an empty report.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, retry_if_result, stop_after_attempt

from airflow_provider_adjust.adjust_api.client import ApiClient, ApiResponse, ApiUnreachable
from airflow_provider_adjust.adjust_api.errors import ReportRefused, ReportUnavailable
from airflow_provider_adjust.s2s.answers.vocabulary import known_words
from airflow_provider_adjust.s2s.redaction import quote

BASE_PATH = "/reports-service"
#: 429 is more than 50 simultaneous requests, 504 a query that took too long (Report Service API, response codes).
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
#: Seconds between two attempts.
_FIRST_WAIT, _MAX_WAIT = 2.0, 120.0
#: Far above any report: days times event tokens are thousands of lines at most.
_MAX_REPORT_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """The parameters of a report. ``filters`` are further ones, such as ``app_token__in`` or ``utc_offset``."""

    dimensions: Sequence[str]
    metrics: Sequence[str]
    date_period: str
    filters: Mapping[str, str] = field(default_factory=dict)

    def as_params(self) -> dict[str, str]:
        return {
            "dimensions": ",".join(self.dimensions),
            "metrics": ",".join(self.metrics),
            "date_period": self.date_period,
            # Days as 2026-05-01, not in a local format.
            "format_dates": "false",
            **self.filters,
        }


@dataclass(frozen=True, slots=True)
class ReportService:
    """The Report Service with one user's API token. A request is retried while Adjust is busy or cannot be reached.

    :param timeout: seconds to connect and to wait for a response.
    :param attempts: how often a request is sent at most.
    :param spread: draws a random wait between two bounds, so that tasks that were refused together do not retry together.
    :param sleep: waits between two attempts.
    """

    endpoint: str
    api_token: str = field(repr=False)
    timeout: tuple[float, float] = (5.0, 600.0)
    attempts: int = 5
    spread: Callable[[float, float], float] = field(default=random.uniform, repr=False)
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)

    async def report(self, query: ReportQuery) -> Report:
        """Return a report.

        :raises ReportRefused: Adjust refuses the request.
        :raises ReportUnavailable: no attempt got a report.
        """
        response = await self._get("/report", query.as_params())
        if response.status == 204:
            return Report()
        return read_report(response.body, query.dimensions, query.metrics)

    async def event_slugs(self, app_token: str) -> dict[str, str]:
        """Return the names of the app's events in metrics: slug by event token.

        A slug may stand for several events, of several apps, so a report that uses it is filtered by app.
        """
        response = await self._get("/events", {})
        events = read_json(response.body) if response.status != 204 else []
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            raise ReportRefused("the Report Service gave no list of events; check the connection's report_endpoint")
        return {
            token: str(event["id"])
            for event in events
            if "id" in event and app_token in _names(event.get("app_token"))
            for token in _names(event.get("tokens"))
        }

    async def check_token(self) -> None:
        """Request the list of the user's apps, which is cheap and needs a valid API token.

        :raises ReportRefused: the API token is wrong.
        """
        await self._get("/filters_data", {"required_filters": "apps"}, is_test=True)

    async def _get(self, path: str, params: Mapping[str, str], *, is_test: bool = False) -> ApiResponse:
        client = ApiClient(self.endpoint + BASE_PATH, self.api_token, self.timeout, _MAX_REPORT_BYTES)
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(ApiUnreachable) | retry_if_result(_is_busy),
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            sleep=self.sleep,
            retry_error_callback=_give_up,
        )
        response: ApiResponse = await attempts(client.get, path, params)
        _check(response, "" if is_test else _words(response, params))
        return response

    def _wait(self, attempt: RetryCallState) -> float:
        """Seconds until the next attempt: those of Adjust's Retry-After, or doubled each time."""
        response = _response_of(attempt)
        retry_after = response.retry_after if isinstance(response, ApiResponse) else None
        if retry_after is not None and retry_after.strip().isdecimal():
            return min(float(retry_after), _MAX_WAIT)
        longest = min(_FIRST_WAIT * 2.0 ** (attempt.attempt_number - 1), _MAX_WAIT)
        return self.spread(longest / 2, longest)


def _check(response: ApiResponse, words: str) -> None:
    """Raise an error unless there is a report.

    :param words: what the error shows of the response. A connection test shows nothing: otherwise anyone who may set the
        endpoint could read what services in the API server's network answer.
    """
    if response.status in {200, 204}:
        return
    if response.status == 401:
        raise ReportRefused(
            "the Report Service refuses the API token (status 401); put your user's API token, from your account "
            "profile in Adjust, into the connection: it is not the S2S security token"
        )
    if response.status == 403:
        raise ReportRefused(
            "the Report Service refuses the request (status 403); the API token's user has no right to it: check "
            "the user's apps and permissions in Adjust"
        )
    what = f"status {response.status}: {words}" if words else f"status {response.status}"
    raise ReportRefused(
        f"the Report Service refuses the request ({what}); check the metrics and filters of the request, and the "
        "connection's report_endpoint"
    )


def _words(response: ApiResponse, params: Mapping[str, str]) -> str:
    """The known words of a response, those of its request among them, such as the name of a metric."""
    asked = {word for name, value in params.items() for word in (name, *value.split(","))}
    return known_words(response.text.strip(), also=asked) or "no text"


def _is_busy(response: ApiResponse) -> bool:
    return response.status in _BUSY


def _response_of(attempt: RetryCallState) -> ApiResponse | BaseException:
    """How the attempt ended."""
    outcome = attempt.outcome
    assert outcome is not None  # noqa: S101 - tenacity sets it before it asks
    return outcome.exception() or outcome.result()


def _give_up(attempt: RetryCallState) -> NoReturn:
    response, number = _response_of(attempt), attempt.attempt_number
    tried = "once" if number == 1 else f"{number} times"
    if isinstance(response, ApiUnreachable) and response.was_slow:
        raise ReportUnavailable(
            f"the Report Service gave no answer in time ({response}), asked {tried}; a longer report_timeout in the "
            "connection gives it more"
        )
    if not isinstance(response, ApiResponse):
        raise ReportUnavailable(
            f"the Report Service cannot be reached ({response}), asked {tried}; check the connection's report_endpoint "
            "and the worker's network"
        )
    cause = {429: "too many requests at once", 504: "the query was too slow"}.get(response.status, "it is busy")
    raise ReportUnavailable(
        f"the Report Service answers status {response.status} ({cause}), asked {tried}; try again later"
    )


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else [value] if isinstance(value, str) else []


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row: its dimensions as text, its metrics as exact numbers."""

    dimensions: Mapping[str, str]
    metrics: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Report:
    """The rows, the totals of each metric, and Adjust's unchanged warnings. An empty report has neither rows nor totals."""

    rows: tuple[ReportRow, ...] = ()
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_report(body: bytes, dimensions: Sequence[str], metrics: Sequence[str]) -> Report:
    """Read the body of a response with status 200.

    :raises ReportRefused: the body is not what Adjust documents.
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
    """The body's JSON, with exact numbers.

    :raises ReportRefused: the body is not JSON.
    """
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise ReportRefused(
            "the Report Service gave an answer that is not JSON; check the connection's report_endpoint"
        ) from None


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise ReportRefused(f"the Report Service gave a row without {quote(name)}, which was requested")
    return row[name]


def _number(name: str, value: Any) -> Decimal:
    if value is None or value == "":
        return Decimal(0)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ReportRefused(f"the Report Service gave a value of {quote(name)} that is not a number")
    return number
