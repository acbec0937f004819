"""AdjustThirdPartySharingOperator tells Adjust the choices of a query or a list, by the operators' common delivery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import Said, device, recorded, reveals

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_third_party_sharing import AdjustThirdPartySharingOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.sandbox import SandboxServer


def tell(events: Any = None, **arguments: Any) -> AdjustThirdPartySharingOperator:
    return AdjustThirdPartySharingOperator(task_id="opt_outs", events=events, **arguments)


def choices(*given: tuple[int, str]) -> list[dict[str, str]]:
    return [{"gps_adid": device(number), "sharing": sharing} for number, sharing in given]


def test_a_list_is_sent_in_order_and_known_choices_are_not_repeated(
    adjust: SandboxServer, ledger: sa.Engine, said: Said
) -> None:
    rows = choices((1, "disable"), (2, "disable"), (1, "enable"))
    result = tell(rows, ledger_conn_id="adjust_ledger").execute({})
    assert result["delivered"] == 3
    assert [event["params"]["sharing"] for event in adjust.events() if event["params"]["gps_adid"] == device(1)] == [
        "disable",
        "enable",
    ]
    assert "environment" not in adjust.events()[0]["params"]
    again = tell(choices((1, "enable")), ledger_conn_id="adjust_ledger").execute({})
    assert (again["skipped"], again["by_reason"]) == (1, {"delivered_before": 1})
    assert reveals(said) == []
    assert (
        "/third_party_sharing: app 4w56..., sharing choice, a rehearsal: this host is not Adjust's; connection"
        in str(said)
    )


def test_a_query_is_streamed(adjust: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sa.create_engine(f"sqlite:///{path}").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE consents (gps_adid TEXT, sharing TEXT)")
        connection.exec_driver_sql("INSERT INTO consents VALUES (?, 'disable')", (device(1),))
    query = tell(sql="SELECT gps_adid, sharing FROM consents", sql_conn_id="warehouse")
    assert query.execute({})["delivered"] == 1
    assert recorded(adjust, "sharing") == ["disable"]
    query.hide_rendered_fields()
    assert query.events is None
    granular = "SELECT gps_adid, sharing, '{}' AS partner_sharing_settings FROM consents"
    with pytest.raises(AirflowFailException, match="Granular sharing is not built"):
        tell(sql=granular, sql_conn_id="warehouse").execute({})


def test_its_arguments(adjust: SandboxServer) -> None:
    for wrong in ({}, {"sql": "SELECT 1"}, {"events": [], "sql": "SELECT 1", "sql_conn_id": "warehouse"}):
        with pytest.raises(AdjustConfigurationError, match="and not both"):
            tell(**wrong)
    listed = tell(choices((1, "disable")))
    listed.hide_rendered_fields()
    assert "not shown" in str(listed.events)
    with pytest.raises(AirflowFailException, match="verify"):
        tell(choices((1, "disable")), on_in_doubt="verify").execute({})
