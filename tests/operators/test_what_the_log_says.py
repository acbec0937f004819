"""The task's log: where the events go, and what a green task did not bring to Adjust."""

from __future__ import annotations

import itertools
from typing import Any

from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, Connect, Said, device, purchase, reveals
from operators.sending import operator
from structlog.testing import capture_logs

from airflow_provider_adjust.sandbox import SandboxServer


def _first_lines(events: Any, **arguments: Any) -> list[str]:
    """The log's lines on where events go, which come before all others."""
    with capture_logs() as logged:
        operator(events, **arguments).execute({})
    # Airflow itself warns that there is no task runner.
    texts = [each["event"] for each in logged if "outside of the Task Runner" not in each["event"]]
    return list(itertools.takewhile(lambda text: text.startswith("Sending to"), texts))


def _first_line(events: Any, **arguments: Any) -> str:
    [line] = _first_lines(events, **arguments)
    return line


def test_the_log_begins_with_where_the_events_go(
    adjust: SandboxServer, connect: Connect, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MEMORY", f"sqlite:///{tmp_path}/ledger.db")
    url, app = f"{adjust.url}/event", f"app {APP_TOKEN[:4]}..."
    rows = [purchase(1)]
    rehearsal = "a rehearsal: this host is not Adjust's"
    given = f"Sending to {url}: {app}, event token {EVENT_TOKEN}, environment production, {rehearsal}; "
    given += "connection adjust_default, "
    assert _first_line(rows) == f"{given}a checkpoint for retries"
    assert _first_line(rows, durable=False) == f"{given}nothing remembers what was sent"
    assert _first_line(rows, ledger_conn_id="memory") == f"{given}ledger memory"
    assert _first_line(rows, dry_run=True) == f"{given}as a dry run, which sends nothing"
    by_name = [{**purchase(2), "event": "purchase"}]
    names = {"purchase": EVENT_TOKEN, "first": "abc123"}
    line = _first_line(by_name, event_token=None, event_tokens=names)
    assert f"event tokens first (abc123), purchase ({EVENT_TOKEN})" in line
    # What the connection and the operator leave open is each row's own.
    connect(adjust.url, app_token=None, environment=None)
    row = {**purchase(3), "app_token": APP_TOKEN, "environment": "sandbox", "event_token": EVENT_TOKEN}
    line = _first_line([row], event_token=None)
    assert (
        "the app that each row names, the event token that each row names, the environment that each row names" in line
    )


def test_each_of_several_connections_is_named(adjust: SandboxServer, connect: Connect) -> None:
    connect(adjust.url, "adjust_ios", environment="sandbox")
    connect(adjust.url, "adjust_android")
    routes = {"ios": "adjust_ios", "android": "adjust_android"}
    lines = _first_lines([{**purchase(1), "os": "ios"}], adjust_conn_id=routes, route_by="os")
    assert ["environment sandbox, a rehearsal" in line and "connection adjust_ios" in line for line in lines] == [
        True,
        False,
    ]
    assert [
        "environment production, a rehearsal" in line and "connection adjust_android" in line for line in lines
    ] == [False, True]


def test_a_green_task_warns_of_what_is_missing(adjust: SandboxServer, said: Said) -> None:
    adjust.configure(unknown_devices=[device(1)])
    operator([purchase(3)], max_rejected=1).execute({})
    assert "although the task succeeds" not in str(said)
    operator([purchase(1), purchase(2)], max_rejected=1).execute({})
    log = str(said)
    assert "1 of 2 events, 1.25 EUR, were not delivered, although the task succeeds" in log
    assert "(max_rejected, tolerate): 1 device_not_found" in log
    assert "'log_level': 'warning'" in log
    assert not reveals(said)
