"""Every way in takes every endpoint: operators, decorator, hook and command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import EVENT_TOKEN, Connect, Said, device

from airflow_provider_adjust.__main__ import main
from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.decorators.adjust_events import AdjustEventsDecoratedOperator
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s import ENDPOINTS, Endpoint, RowOptions
from airflow_provider_adjust.sandbox import SandboxServer

NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


@pytest.fixture(params=sorted(ENDPOINTS))
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return ENDPOINTS[request.param]


def row_of(endpoint: Endpoint, number: int) -> dict[str, Any]:
    """A row with all that any endpoint needs; the parameters of others are left out."""
    row = {
        "gps_adid": device(number),
        "created_at": NOON.isoformat(),
        "revenue": "0.5",
        "currency": "USD",
        "ad_impressions_count": "1",
        "event_token": EVENT_TOKEN,
        "sharing": "disable",
    }
    own_id = {"number": f"row-{number}"} if endpoint.state is None else {}
    return {name: value for name, value in row.items() if name in endpoint.parameters} | own_id


def arguments_of(endpoint: Endpoint) -> dict[str, Any]:
    return {"endpoint": endpoint.name} | ({"id_field": "number"} if endpoint.state is None else {})


def test_operator_decorator_and_hook(adjust: SandboxServer, said: Said, endpoint: Endpoint) -> None:
    rows = [row_of(endpoint, number) for number in range(3)]
    AdjustSendEventsOperator(task_id="send", events=rows, **arguments_of(endpoint)).execute({})
    assert f"{adjust.url}{endpoint.path}" in str(said)
    if not endpoint.has_tokens:
        assert EVENT_TOKEN not in str(said)
        assert "event token" not in str(said)
    AdjustEventsDecoratedOperator(task_id="task", python_callable=lambda: iter(rows), **arguments_of(endpoint)).execute(
        {}
    )
    receipt = AdjustS2SHook().send_event(rows[0], RowOptions(**arguments_of(endpoint)))
    assert receipt.outcome.value == "delivered"
    assert adjust.stats()["by_endpoint"] == {endpoint.name: 7}


def test_the_command_line(
    adjust: SandboxServer,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row_of(endpoint, number)) + "\n" for number in range(3)))
    given_id = ("--id-field", "number") if endpoint.state is None else ()
    options = ("--endpoint", endpoint.name, *given_id, "--environment", "production")
    for command, more in (("validate", ()), ("preview", ()), ("send", ("--dry-run",)), ("send", ())):
        given = ("--adjust-conn-id", "adjust_default") if command != "send" else ()
        with pytest.raises(SystemExit) as ended:
            main([command, str(path), *options, *given, *more])
        assert (command, ended.value.code or 0) == (command, 0), capsys.readouterr()
    assert device(1) not in capsys.readouterr().out
    assert adjust.stats()["by_endpoint"] == {endpoint.name: 3}


def test_what_does_not_go_together_is_refused_before_anything_is_sent(adjust: SandboxServer, connect: Connect) -> None:
    connect(adjust.url, api_token="an-api-token")
    rows = [row_of(ENDPOINTS["ad_revenue"], 1)]
    for arguments, says in (
        ({"event_token": EVENT_TOKEN}, "event_token cannot be given with endpoint='ad_revenue'"),
        ({"on_in_doubt": "verify"}, "Adjust's Device API knows events only"),
        ({"endpoint": "sessions"}, "endpoint='sessions' must be one of"),
    ):
        given = {**arguments_of(ENDPOINTS["ad_revenue"]), **arguments}
        with pytest.raises(AirflowFailException, match=says):
            AdjustSendEventsOperator(task_id="send", events=rows, **given).execute({})
    assert adjust.stats()["requests"] == 0
