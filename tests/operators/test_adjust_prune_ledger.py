"""AdjustPruneLedgerOperator: what Adjust would not take any more is forgotten, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import START, Said, purchase, recorded
from operators.old_ledger import at_the_first_batch, remember, remembered

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_prune_ledger import AdjustPruneLedgerOperator
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, PruningStopped
from airflow_provider_adjust.s2s.ledger.schema import VERSION, versions
from airflow_provider_adjust.sandbox import SandboxServer

SETTLED = ["delivered", "duplicate", "rejected"]
OPEN = ["in_doubt", "sending"]


def prune(**arguments: Any) -> int:
    operator = AdjustPruneLedgerOperator(task_id="prune", **({"ledger_conn_id": "adjust_ledger"} | arguments))
    return operator.execute({})


def test_only_settled_events_that_are_old_enough_go(ledger: sa.Engine, said: Said) -> None:
    old, young = timedelta(days=91), timedelta(days=89)
    remember(ledger, *((status, age) for status in SETTLED + OPEN for age in (old, young)))
    assert prune() == 3
    assert remembered(ledger) == {f"{status}, 89 days" for status in SETTLED + OPEN} | {
        f"{status}, 91 days" for status in OPEN
    }
    assert "3 settled events older than 90 days were deleted" in str(said)
    assert prune() == 0


@pytest.mark.parametrize(("age", "count"), [(timedelta(days=57, hours=23), 0), (timedelta(days=58, hours=1), 1)])
def test_the_shortest_memory_is_as_long_as_adjust_takes_events(ledger: sa.Engine, age: timedelta, count: int) -> None:
    remember(ledger, ("delivered", age))
    assert prune(older_than=timedelta(days=58)) == count


@pytest.mark.parametrize("older_than", [timedelta(days=58) - timedelta(seconds=1), timedelta(0), timedelta(days=-90)])
def test_a_memory_that_is_too_short_is_refused_before_the_dag_runs(older_than: timedelta) -> None:
    with pytest.raises(
        AdjustConfigurationError, match=r"is \S+ days; it must be at least 58 days.*could be sent again"
    ):
        AdjustPruneLedgerOperator(task_id="prune", ledger_conn_id="adjust_ledger", older_than=older_than)


def test_what_was_just_sent_is_still_known_after_it(adjust: SandboxServer, ledger: sa.Engine) -> None:
    def send(run_id: str) -> dict[str, Any]:
        operator = AdjustSendEventsOperator(
            task_id="send",
            events=[purchase(number) for number in range(5)],
            event_token="f0ob4r",
            id_field="order_id",
            ledger_conn_id="adjust_ledger",
        )
        task_instance = SimpleNamespace(dag_id="sync", run_id=run_id, task_id="send", map_index=-1, try_number=1)
        return operator.execute({"ti": task_instance})  # type: ignore[typeddict-item]

    assert datetime.now(UTC) - START < timedelta(days=58)
    assert send("first")["delivered"] == 5
    assert prune(older_than=timedelta(days=58)) == 0
    assert send("second")["by_reason"] == {"delivered_before": 5}
    assert len(recorded(adjust)) == 5


def test_a_ledger_that_does_not_exist_yet_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "new.db")}
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps(connection))
    assert prune() == 0


def test_the_connection_may_be_a_template(ledger: sa.Engine) -> None:
    remember(ledger, ("delivered", timedelta(days=91)))
    operator = AdjustPruneLedgerOperator(task_id="prune", ledger_conn_id="adjust_{{ which }}")
    operator.render_template_fields({"which": "ledger"})  # type: ignore[typeddict-unknown-key]
    assert operator.execute({}) == 1


def test_a_connection_that_is_not_a_database_fails_without_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_LEDGER", json.dumps({"conn_type": "adjust"}))
    with pytest.raises(AirflowFailException, match=r"AdjustConfigurationError.*must be a database connection"):
        prune()


def test_a_ledger_of_a_newer_provider_fails_without_a_retry(ledger: sa.Engine) -> None:
    with ledger.begin() as connection:
        connection.execute(versions.update().values(version=VERSION + 1))
    with pytest.raises(AirflowFailException, match="update the provider"):
        prune()


def test_a_killed_task_finishes_its_batch_keeps_what_it_deleted_and_the_retry_deletes_the_rest(
    ledger: sa.Engine, said: Said
) -> None:
    remember(ledger, *(("delivered", timedelta(days=91, seconds=second)) for second in range(1500)))
    operator = AdjustPruneLedgerOperator(task_id="prune", ledger_conn_id="adjust_ledger")
    with at_the_first_batch(operator.on_kill), pytest.raises(PruningStopped, match="had deleted 1,000 events"):
        operator.execute({})
    assert "1,000 settled events" in str(said)
    assert len(remembered(ledger)) == 500
    assert prune() == 500
