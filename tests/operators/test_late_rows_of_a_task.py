"""Late rows as a task sees them: the result, the rejected file, the error, and what the options need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import START, Said, device, purchase, recorded, reveals
from operators.sending import lines, operator, send

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.sandbox import SandboxServer

LATE = purchase(1) | {"gps_adid": device(500)}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adjust: SandboxServer) -> dict[str, Any]:
    """The arguments of tasks that remember lanes; one of them has sent a later purchase of the device."""
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    arguments = {"ledger_conn_id": "ledger", "remember_lanes": True}
    assert send([purchase(500)], **arguments)["delivered"] == 1
    return arguments


def test_a_late_row_is_listed_and_costs_no_request(
    ledger: dict[str, Any], adjust: SandboxServer, tmp_path: Path, said: Said
) -> None:
    rejected = tmp_path / "rejected.jsonl"
    with pytest.raises(AirflowFailException, match="late_in_lane") as failure:
        operator([LATE], rejected_path=str(rejected), **ledger).execute({})
    [line] = lines(rejected)
    assert (line["reason"], line["event_id"]) == ("late_in_lane", "o-1")
    assert "0:08:19 older" in line["detail"]
    assert adjust.stats()["requests"] == 1
    assert reveals(said) == reveals(failure.value) == []
    assert send([LATE], tolerate=["late_in_lane"], **ledger)["by_reason"] == {"late_in_lane": 1}


def test_a_late_row_arrives_with_its_own_time_beside(ledger: dict[str, Any], adjust: SandboxServer) -> None:
    result = send([LATE], late="send_at_lane_time", late_param="loaded_for", **ledger)
    assert (result["delivered"], result["adjusted"], result["revenue"]) == (1, 1, {"EUR": "1.25"})
    assert recorded(adjust, "created_at_unix") == [str(int(START.timestamp()) + 500)] * 2
    own_time = json.loads(str(recorded(adjust, "callback_params")[1]))["loaded_for"]
    assert own_time == LATE["created_at"].replace("+00:00", "Z")


@pytest.mark.parametrize("options", [{"remember_lanes": True}, {"rate_group": "adjust", "max_events_per_second": 5.0}])
def test_an_option_that_needs_the_ledger_says_so(adjust: SandboxServer, options: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="needs ledger_conn_id"):
        operator([purchase(1)], **options).execute({})
    assert adjust.stats()["requests"] == 0
    assert send([purchase(1)], dry_run=True, **options)["skipped"] == 1, "a dry run needs none"
