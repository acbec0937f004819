"""What the hook reads from Adjust with the API token, and what the connection test makes of that token."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from airflow.sdk._shared.secrets_masker import redact
from reconcile.reading_account import S2S_TOKEN, Connect
from reconcile.report_case import API_TOKEN, DAY, EVENT_TOKEN, receive

from airflow_provider_adjust.adjust_api.errors import ReportRefused
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.reconcile.totals import read_totals
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer


def test_a_report_is_on_the_connections_app_in_its_environment(
    reporting: SandboxServer, connect_reader: Connect
) -> None:
    receive(reporting, 2)
    receive(reporting, 5, environment="production")
    [row] = AdjustS2SHook().report(["day"], ["purchase_events", "purchase_revenue"], f"{DAY}:{DAY}").rows
    assert row.dimensions == {"day": DAY.isoformat()}
    assert row.metrics == {"purchase_events": Decimal(2), "purchase_revenue": Decimal("2.50")}
    [row] = AdjustS2SHook(environment="production").report(["day"], ["events"], f"{DAY}:{DAY}").rows
    assert row.metrics == {"events": Decimal(5)}
    assert AdjustS2SHook().report(["day"], ["events"], f"{DAY}:{DAY}", app_token__in="another").rows == ()


def test_events_have_names_in_reports(connect_reader: Connect) -> None:
    assert AdjustS2SHook().event_slugs() == {EVENT_TOKEN: "purchase", "abc123": "event_abc123"}
    assert AdjustS2SHook().event_slugs("another") == {}


def test_booked_events_are_a_baseline(reporting: SandboxServer, connect_reader: Connect) -> None:
    receive(reporting, 2)
    booked = AdjustS2SHook().booked_events([EVENT_TOKEN], f"{DAY}:{DAY}", currency="EUR")
    assert booked == [
        {"period": str(DAY), "event_token": EVENT_TOKEN, "events": 2, "revenue": "2.50", "currency": "EUR"}
    ]
    assert read_totals(booked[0], "baseline").revenue == Decimal("2.50")
    assert AdjustS2SHook().booked_events([EVENT_TOKEN], DAY)[0]["revenue"] is None


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("api_token", "needs an API token for the Report Service"),
        ("app_token", "needs an app token for the Report Service"),
        ("environment", "needs an environment for the Report Service"),
    ],
)
def test_what_the_connection_lacks_is_named(connect_reader: Connect, missing: str, words: str) -> None:
    connect_reader(**{missing: None})
    with pytest.raises(AdjustConfigurationError, match=f"connection 'adjust_default' {words}"):
        AdjustS2SHook().report(["day"], ["events"], "today")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"report_endpoint": "http://automate.adjust.com"}, "the report_endpoint must begin with https://"),
        ({"api_endpoint": "api adjust"}, "the api_endpoint must be a URL"),
        ({"report_timeout": 0}, "report_timeout must be a number of seconds, above 0 and at most 3600"),
        ({"report_timeout": 3601}, "report_timeout must be a number of seconds"),
        ({"api_token": "schlüssel"}, "the API token holds characters that no token has"),
    ],
)
def test_what_cannot_be_used_is_refused(connect_reader: Connect, extra: dict[str, Any], words: str) -> None:
    connect_reader(**extra)
    with pytest.raises(AdjustConfigurationError, match=words) as refusal:
        AdjustS2SHook().event_slugs()
    assert "schlüssel" not in str(refusal.value)


def test_reports_have_a_read_timeout_of_their_own(connect_reader: Connect) -> None:
    assert AdjustS2SHook().settings.report_service().timeout == (5, 600)
    connect_reader(report_timeout=1000, connect_timeout=9, read_timeout=1)
    assert AdjustS2SHook().settings.report_service().timeout == (9, 1000)


def test_the_api_token_is_masked_and_in_no_repr_and_no_error(connect_reader: Connect) -> None:
    settings = AdjustS2SHook().settings
    for thing in (settings, settings.report_service(), settings.report_client(), settings.device_api()):
        assert API_TOKEN not in repr(thing)
    assert redact(f"token {API_TOKEN}") == "token ***"
    connect_reader(api_token="another-api-token")
    with pytest.raises(ReportRefused) as refusal:
        AdjustS2SHook().event_slugs()
    assert "another-api-token" not in str(refusal.value)


TESTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool, str]] = {
    # settings of the stand-in, changes to the connection; whether it works, and how the message ends
    "accepted": ({}, {}, True, ": API token accepted."),
    "wrong": ({}, {"api_token": "another-api-token"}, False, "it is not the S2S security token."),
    "the S2S token by mistake": ({"tokens": [S2S_TOKEN]}, {"api_token": S2S_TOKEN}, False, "not the S2S security token."),
    "not set": ({}, {"api_token": None}, True, "so enable it there to be sure."),
    "unreachable": ({}, {"report_endpoint": "http://127.0.0.1:9"}, False, "report_endpoint and the worker's network."),
    "S2S refused, API token accepted": ({"tokens": ["other"]}, {}, False, ": API token accepted."),
}  # fmt: skip


@pytest.mark.parametrize("name", TESTS)
def test_the_connection_test_checks_the_api_token_when_one_is_set(
    reporting: SandboxServer, connect_reader: Connect, name: str
) -> None:
    settings, changes, works, words = TESTS[name]
    reporting.configure(**settings)
    connect_reader(**changes)
    result = AdjustS2SHook().test_connection()
    assert result[0] is works, result[1]
    # What fails comes first.
    first, last = result[1].split(" http", 1)[0], result[1]
    assert (last if works or name.startswith("S2S refused") else first).endswith(words), result[1]
    assert not any(secret in result[1] for secret in (API_TOKEN, S2S_TOKEN, "another-api-token"))
    assert reporting.stats()["recorded"] == 0
