"""What a sending task reports to Airflow's metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
from operators.adjust_account import Said, TaskStateStore, device, purchase, reveals
from operators.sending import has_task_state_store, operator

from airflow_provider_adjust import metrics
from airflow_provider_adjust.airflow_versions import AirflowFailException, stats
from airflow_provider_adjust.metrics import DeliveryMetrics
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.delivery.options import Retries
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, EventsUnresolved
from airflow_provider_adjust.sandbox import SandboxServer

TI = SimpleNamespace(dag_id="revenue", task_id="send", run_id="night", map_index=-1, try_number=1, log_url="")


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Airflow's metrics, which need a server; with their signatures."""
    recorder = create_autospec(stats)
    monkeypatch.setattr(metrics, "stats", recorder)
    return recorder


def counted(backend: Any) -> dict[tuple[str, str], float]:
    """Each counter by its name and reason."""
    return {(call.args[0], call.kwargs["tags"].get("reason", "")): call.args[1] for call in backend.incr.call_args_list}


def test_events_by_outcome_and_reason_and_revenue_by_currency(adjust: SandboxServer, backend: Any, said: Said) -> None:
    adjust.configure(unknown_devices=[device(1)])
    rows = [purchase(1), purchase(2), purchase(3, revenue="2", currency="USD"), purchase(4, revenue="x")]
    operator(rows, max_rejected=2).execute({"ti": TI})
    assert counted(backend) == {
        ("adjust.events.delivered", ""): 2,
        ("adjust.events.rejected", "device_not_found"): 1,
        ("adjust.events.invalid", "invalid_revenue"): 1,
        ("adjust.revenue.delivered.EUR", ""): 1.25,
        ("adjust.revenue.delivered.USD", ""): 2.0,
        ("adjust.revenue.not_delivered.EUR", "device_not_found"): 1.25,
    }
    for call in backend.incr.call_args_list:
        assert (
            call.kwargs["tags"].items()
            >= {
                "dag_id": "revenue",
                "task_id": "send",
                "environment": "rehearsal",
            }.items()
        )
    [duration] = backend.timing.call_args_list
    assert duration.args[0] == "adjust.duration"
    assert duration.args[1] > 0
    assert duration.kwargs["tags"]["state"] == "success"
    assert not reveals(backend.mock_calls)


def test_the_tag_of_several_environments_has_no_comma(backend: Any) -> None:
    tagged = {
        "sandbox": {"environment": "sandbox"},
        "": {},
        "production,sandbox": {"environment": "production+sandbox"},
    }
    for given, tags in tagged.items():
        reported = DeliveryMetrics.of(DeliverySummary(), SimpleNamespace(), environment=given)
        reported.ended(DeliverySummary(), seconds=1, failed=False)
        assert backend.gauge.call_args.kwargs["tags"] == tags


def test_a_failure_is_reported_as_one(adjust: SandboxServer, backend: Any) -> None:
    with pytest.raises(AirflowFailException):
        operator([purchase(1, revenue="x")]).execute({"ti": TI})
    assert backend.timing.call_args.kwargs["tags"]["state"] == "failed"
    assert counted(backend) == {("adjust.events.invalid", "invalid_revenue"): 1}


@has_task_state_store
def test_a_retry_does_not_count_again_what_the_first_try_settled(adjust: SandboxServer, backend: Any) -> None:
    context: dict[str, Any] = {"task_state_store": TaskStateStore(), "ti": TI}
    rows = [purchase(number) for number in range(4)]
    adjust.configure(fault_plan=[None, None, *["500"] * 50])
    with pytest.raises(AdjustUnreachable):
        operator(rows, max_in_flight=1).execute(context)
    adjust.configure(fault_plan=[])
    operator(rows).execute(context)
    delivered = [c.args[1] for c in backend.incr.call_args_list if c.args[0] == "adjust.events.delivered"]
    assert sum(delivered) == 4
    assert len(delivered) == 2


def test_with_a_ledger_each_try_reports_what_it_added(
    adjust: SandboxServer, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    rows = [purchase(number) for number in range(5)]
    adjust.configure(unknown_devices=[device(1)], fault_plan=[None, None, None, "500"])

    def try_once(number: int, run_id: str = "night") -> dict[tuple[str, str], float]:
        backend.reset_mock()
        ti = SimpleNamespace(**{**vars(TI), "try_number": number, "run_id": run_id})
        task = operator(rows, ledger_conn_id="ledger", max_in_flight=1, max_rejected=5)
        sending = replace(task.send_options(), retries=Retries(attempts=1))
        monkeypatch.setattr(task, "send_options", lambda: sending)
        with suppress(EventsUnresolved, AdjustUnreachable):
            task.execute({"ti": ti})
        unresolved = {"internal_error", "stopped"}
        return {key: count for key, count in counted(backend).items() if key[1] not in unresolved}

    refused = {
        ("adjust.events.rejected", "device_not_found"): 1,
        ("adjust.revenue.not_delivered.EUR", "device_not_found"): 1.25,
    }
    assert try_once(1) == {("adjust.events.delivered", ""): 2, ("adjust.revenue.delivered.EUR", ""): 2.5, **refused}
    adjust.configure(fault_plan=[])
    assert try_once(2) == {("adjust.events.delivered", ""): 2, ("adjust.revenue.delivered.EUR", ""): 2.5}
    assert try_once(3) == {}
    assert try_once(1, "next night") == {
        ("adjust.events.skipped", "delivered_before"): 4,
        ("adjust.events.skipped", "refused_before"): 1,
    }


def test_while_it_runs_it_reports_the_backlog(backend: Any) -> None:
    now = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
    running = DeliveryMetrics(DeliverySummary(), {})
    running.running(in_flight=3, last_event_at=None, now=now)
    running.running(in_flight=5, last_event_at=now - timedelta(hours=2), now=now)
    assert [call.args for call in backend.gauge.call_args_list] == [
        ("adjust.in_flight", 3),
        ("adjust.in_flight", 5),
        ("adjust.lag_seconds", 7200.0),
    ]


def test_a_failing_backend_does_not_affect_the_delivery(adjust: SandboxServer, backend: Any, said: Said) -> None:
    backend.incr.side_effect = backend.timing.side_effect = OSError("no route to 10.1.2.3")
    assert operator([purchase(1)]).execute({"ti": TI})["delivered"] == 1
    assert str(said).count("metrics of this delivery could not be reported (OSError)") >= 1
    assert "10.1.2.3" not in str(said)
    assert backend.incr.call_count == 1
