"""What other DAGs hear of a delivery: the result, on the event of each asset in `outlets`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors
from operators.adjust_account import EVENT_TOKEN, purchase, reveals

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer

REVENUE = Asset("adjust_revenue", uri=f"adjust://4w565xzmb54d/{EVENT_TOKEN}")
BY_NAME = Asset("purchases_are_in_adjust")


def operator(outlets: list[Any], **arguments: Any) -> AdjustSendEventsOperator:
    given: dict[str, Any] = {"events": [purchase(1), purchase(2)], "event_token": EVENT_TOKEN, "id_field": "order_id"}
    return AdjustSendEventsOperator(task_id="send", outlets=outlets, **(given | arguments))


def extras(events: OutletEventAccessors, *assets: Asset) -> list[dict[str, Any]]:
    return [dict(events[asset].extra) for asset in assets]


def test_the_result_is_on_the_event_of_each_asset(adjust: SandboxServer) -> None:
    events = OutletEventAccessors()
    result = operator([REVENUE, BY_NAME]).execute({"outlet_events": events})
    assert result["delivered"] == 2
    assert extras(events, REVENUE, BY_NAME) == [result, result]


def test_what_is_on_the_event_is_json_without_secrets(adjust: SandboxServer) -> None:
    events = OutletEventAccessors()
    operator([REVENUE], events=[purchase(1), purchase(2, revenue="-1")], max_rejected=1).execute(
        {"outlet_events": events}
    )
    [extra] = extras(events, REVENUE)
    assert json.loads(json.dumps(extra)) == extra
    assert extra["by_reason"] == {"invalid_revenue": 1}
    assert not reveals(json.dumps(extra))


def test_what_the_dag_put_there_stays(adjust: SandboxServer) -> None:
    events = OutletEventAccessors()
    events[REVENUE].extra = {"country": "DE"}
    result = operator([REVENUE]).execute({"outlet_events": events})
    assert extras(events, REVENUE) == [{"country": "DE"} | result]


def test_a_dry_run_says_that_it_delivered_nothing(adjust: SandboxServer) -> None:
    """Airflow makes an event for every success, so the event has to tell."""
    events = OutletEventAccessors()
    operator([REVENUE], dry_run=True).execute({"outlet_events": events})
    [extra] = extras(events, REVENUE)
    assert (extra["delivered"], extra["skipped"]) == (0, 2)


def test_an_alias_is_left_to_the_dag(adjust: SandboxServer) -> None:
    alias = AssetAlias("some_revenue")
    events = OutletEventAccessors()
    operator([alias]).execute({"outlet_events": events})
    assert (events[alias].extra, events[alias].asset_alias_events) == ({}, [])


def test_a_failure_says_nothing(adjust: SandboxServer) -> None:
    events = OutletEventAccessors()
    with pytest.raises(AirflowFailException, match="RejectedBudgetExceeded"):
        operator([REVENUE], events=[purchase(1), purchase(2, revenue="-1")]).execute({"outlet_events": events})
    assert len(adjust.events()) == 1
    assert extras(events, REVENUE) == [{}]


@pytest.mark.parametrize("outlets", [[], [REVENUE]])
def test_a_context_without_outlet_events_will_do(adjust: SandboxServer, outlets: list[Asset]) -> None:
    assert operator(outlets).execute({})["delivered"] == 2
