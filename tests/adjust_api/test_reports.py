"""The Report Service: its requests, how its responses are read, and which requests are retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from reconcile.report_case import API_TOKEN, APP_TOKEN, DAY, Pauses, Run, receive
from s2s.raw_server import Connection, RawServer
from serving import serving

from airflow_provider_adjust.adjust_api.errors import ReportRefused, ReportUnavailable
from airflow_provider_adjust.adjust_api.reports import Report, ReportQuery, ReportRow, ReportService
from airflow_provider_adjust.sandbox import SandboxServer

QUERY = ReportQuery(
    ["day"],
    ["purchase_events", "purchase_revenue"],
    f"{DAY}:{DAY}",
    {"app_token__in": APP_TOKEN, "sandbox": "true", "utc_offset": "+00:00", "currency": "EUR"},
)


def test_a_report_is_typed(reporting: SandboxServer, service: ReportService, run: Run) -> None:
    receive(reporting, 3)
    assert run(service.report(QUERY)) == Report(
        rows=(
            ReportRow({"day": DAY.isoformat()}, {"purchase_events": Decimal(3), "purchase_revenue": Decimal("3.75")}),
        ),
        totals={"purchase_events": Decimal(3), "purchase_revenue": Decimal("3.75")},
    )


def test_204_is_an_empty_report(service: ReportService, run: Run, pauses: Pauses) -> None:
    assert run(service.report(QUERY)) == Report()
    assert pauses == []


@pytest.mark.parametrize("status", ["429", "500", "503", "504"])
def test_a_busy_service_is_retried(
    reporting: SandboxServer, service: ReportService, run: Run, pauses: Pauses, status: str
) -> None:
    receive(reporting)
    reporting.configure(report_fault_plan=[status, status])
    assert len(run(service.report(QUERY)).rows) == 1
    assert pauses == [2, 4]


@pytest.mark.parametrize(("retry_after", "paused"), [(7, 7), (3600, 120)])
def test_the_service_says_how_long_to_wait_up_to_two_minutes(
    reporting: SandboxServer, service: ReportService, run: Run, pauses: Pauses, retry_after: int, paused: int
) -> None:
    reporting.configure(report_fault_plan=["429"], retry_after=retry_after)
    run(service.report(QUERY))
    assert pauses == [paused]


@pytest.mark.parametrize(
    ("status", "words"),
    [("429", "too many requests at once"), ("503", "it is busy"), ("504", "the query was too slow")],
)
def test_a_service_that_stays_busy_is_unavailable(
    reporting: SandboxServer, service: ReportService, run: Run, pauses: Pauses, status: str, words: str
) -> None:
    reporting.configure(report_faults={status: 1.0})
    with pytest.raises(ReportUnavailable, match=rf"status {status} \({words}\), asked 5 times"):
        run(service.report(QUERY))
    assert pauses == [2, 4, 8, 16]


def test_a_service_that_cannot_be_reached_is_retried(service: ReportService, run: Run, pauses: Pauses) -> None:
    service = replace(service, endpoint="http://127.0.0.1:9", timeout=(0.5, 0.5), attempts=2)
    with pytest.raises(ReportUnavailable, match=r"cannot be reached \(Connect\w*Error\), asked 2 times") as failure:
        run(service.report(QUERY))
    assert str(failure.value).endswith("; check the connection's report_endpoint and the worker's network")
    assert "127.0.0.1" not in str(failure.value)
    assert len(pauses) == 1


def test_only_a_slow_answer_is_a_matter_of_the_timeout(service: ReportService, run: Run) -> None:
    said = {}
    for script in (Connection.wait_for_the_client, Connection.reset):
        with RawServer(script) as raw:
            slow = replace(service, endpoint=raw.url, timeout=(5.0, 0.2), attempts=1)
            with pytest.raises(ReportUnavailable) as failure:
                run(slow.report(QUERY))
        said[script.__name__] = str(failure.value).partition("asked once; ")[2]
    assert said == {
        "wait_for_the_client": "a longer report_timeout in the connection gives it more",
        "reset": "check the connection's report_endpoint and the worker's network",
    }


def test_a_wrong_api_token_is_refused_at_once(service: ReportService, run: Run, pauses: Pauses) -> None:
    wrong = replace(service, api_token="another-api-token")
    for request in (wrong.report(QUERY), wrong.event_slugs(APP_TOKEN), wrong.check_token()):
        with pytest.raises(ReportRefused, match="refuses the API token") as refusal:
            run(request)
        assert "another-api-token" not in str(refusal.value)
    assert pauses == []
    assert "another-api-token" not in repr(wrong)


def test_a_refusal_quotes_adjusts_own_message(service: ReportService, run: Run) -> None:
    with pytest.raises(ReportRefused, match=r"status 400: .*unknown metric nothing_events"):
        run(service.report(replace(QUERY, metrics=["nothing_events"])))


def test_events_are_named_by_token(reporting: SandboxServer, service: ReportService, run: Run) -> None:
    assert run(service.event_slugs(APP_TOKEN)) == {"f0ob4r": "purchase", "abc123": "event_abc123"}
    assert run(service.event_slugs("another")) == {}
    assert run(service.check_token()) is None


class _Server(HTTPServer):
    answer: tuple[int, bytes, dict[str, str]]
    seen: list[tuple[str, dict[str, list[str]], str]]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        url = urlsplit(self.path)
        server.seen.append((url.path, parse_qs(url.query), self.headers["Authorization"]))
        status, body, headers = server.answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def server(status: int, body: bytes, **headers: str) -> Iterator[tuple[ReportService, _Server]]:
    """A web server with one answer for all."""
    listening = _Server(("127.0.0.1", 0), _Handler)
    listening.answer, listening.seen = (status, body, headers), []
    with serving(listening) as url:
        yield ReportService(url, API_TOKEN, attempts=1), listening


def test_a_report_is_requested_with_its_dimensions_metrics_and_filters(run: Run) -> None:
    with server(204, b"") as (service, seen_by):
        run(service.report(QUERY))
    [(path, query, authorization)] = seen_by.seen
    assert path == "/reports-service/report"
    assert authorization == f"Bearer {API_TOKEN}"
    assert query == {
        "dimensions": ["day"],
        "metrics": ["purchase_events,purchase_revenue"],
        "date_period": [f"{DAY}:{DAY}"],
        "format_dates": ["false"],
        "app_token__in": [APP_TOKEN],
        "sandbox": ["true"],
        "utc_offset": ["+00:00"],
        "currency": ["EUR"],
    }


NOT_ADJUST: dict[str, tuple[int, bytes, dict[str, str], str]] = {
    "a web page": (200, b"<html>Please log in</html>", {}, "an answer that is not JSON"),
    "another JSON": (200, b'{"hello": 1}', {}, "no list of rows"),
    "a row without a requested metric": (200, b'{"rows": [{"day": "2026-05-01"}]}', {}, "a row without 'purchase_events'"),
    "a value that is not a number": (
        200, b'{"rows": [{"day": "d", "purchase_events": "many", "purchase_revenue": "1"}]}', {}, "is not a number",
    ),
    "a user without rights": (403, b"", {}, "no right to it"),
    "a redirect": (302, b"", {"Location": "/elsewhere"}, "status 302"),
    "an answer that echoes the token": (400, f"no {API_TOKEN}".encode(), {}, r"status 400: no … \(\+ \d+ character"),
    "one without a word": (418, b"", {}, r"\(status 418: no text\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_ADJUST)
def test_an_answer_that_is_not_a_report_is_refused(run: Run, name: str) -> None:
    status, body, headers, words = NOT_ADJUST[name]
    with server(status, body, **headers) as (service, seen_by), pytest.raises(ReportRefused, match=words) as refusal:
        run(service.report(QUERY))
    assert API_TOKEN not in str(refusal.value)
    assert len(seen_by.seen) == 1


def test_numbers_are_exact_whatever_their_form(run: Run) -> None:
    body = (
        b'{"rows": [{"day": "2026-05-01", "purchase_events": "10", "purchase_revenue": "0.30"},'
        b' {"day": "2026-05-02", "purchase_events": null, "purchase_revenue": 0.1}],'
        b' "totals": {"purchase_events": 10.0, "purchase_revenue": 0.4}, "warnings": ["late"], "pagination": null}'
    )
    with server(200, body) as (service, _):
        report = run(service.report(QUERY))
    assert [row.metrics["purchase_revenue"] for row in report.rows] == [Decimal("0.30"), Decimal("0.1")]
    assert report.rows[1].metrics["purchase_events"] == 0
    assert report.totals["purchase_revenue"] == Decimal("0.4")
    assert report.warnings == ("late",)


def test_of_an_answer_only_words_of_the_request_and_known_ones_are_shown(run: Run) -> None:
    secrets = (
        "\x1b]0;OWNED\x07\x1b[2J\u202e secret=hunter2 db_password: s3cr3t\r\n2026-05-01 ERROR ms.person@mail.example"
    )
    with server(400, f"unknown metric purchase_events {secrets}".encode()) as (service, _):
        with pytest.raises(ReportRefused) as refusal:
            run(service.report(QUERY))
        with pytest.raises(ReportRefused) as tested:
            run(service.check_token())
    shown = str(refusal.value)
    assert "(status 400: unknown metric purchase_events … " in shown
    assert shown.isprintable()
    assert not [word for word in ("OWNED", "hunter2", "s3cr3t", "person", "2026", "[2J") if word in shown]
    assert "(status 400); check" in str(tested.value), "a test of the connection shows no word of an answer"
