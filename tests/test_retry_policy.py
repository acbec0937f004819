"""AdjustRetryPolicy: which failures are not retried, how long the others wait, and that every sending task has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_adjust.operators import adjust_delivery
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import (
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    EventsUnresolved,
    FinalError,
    InvalidEvent,
    LedgerUnavailable,
)
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow has retry policies from 3.3 on")

from airflow.sdk import ExceptionRetryPolicy, RetryDecision
from airflow.sdk.definitions.retry_policy import RetryAction

from airflow_provider_adjust.retry_policy import AdjustRetryPolicy


def decide(error: BaseException) -> RetryDecision:
    return AdjustRetryPolicy().evaluate(error, try_number=1, max_tries=3)


# --- The table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", FinalError.__subclasses__())
def test_what_a_retry_could_not_change_fails_at_once(error: type[Exception]) -> None:
    decision = decide(error("the words of the error"))
    assert (decision.action, decision.retry_delay) == (RetryAction.FAIL, None)
    assert decision.reason == f"{error.__name__}: a retry would fail in the same way"


def test_a_halt_is_final_even_where_adjust_asks_to_wait() -> None:
    assert decide(DeliveryHalted("an inactive app", retry_after=90)).action is RetryAction.FAIL


@pytest.mark.parametrize("error", [AdjustUnreachable, DeliveryStopped])
@pytest.mark.parametrize("seconds", [90, 0.5, 0, 86_400])
def test_the_wait_is_as_long_as_adjust_asked_for(error: type[DeliveryStopped], seconds: float) -> None:
    decision = decide(error("too many requests", retry_after=seconds))
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=seconds))
    assert decision.reason == "Adjust asked to wait that long"


@pytest.mark.parametrize(
    "error",
    [
        AdjustUnreachable("no answer"),
        DeliveryStopped("the task was killed"),
        LedgerUnavailable.because(OSError("disk full")),
        EventsUnresolved("3 events are in doubt"),
        InvalidEvent("invalid_revenue", "not a number"),
        ConnectionError("the warehouse went away"),
        ValueError("no error of ours, although some of ours are one"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_left_to_the_tasks_own_retries(error: BaseException) -> None:
    assert decide(error) == RetryDecision.default()


# --- The operators ----------------------------------------------------------------------------------------------------


class Patient(AdjustRetryPolicy):
    """A policy that a user gives."""


def send(**arguments: Any) -> Any:
    return AdjustSendEventsOperator(task_id="send", events=[], **arguments)


def sql_to_adjust(**arguments: Any) -> Any:
    return SqlToAdjustOperator(task_id="send", sql="SELECT 1", sql_conn_id="warehouse", **arguments)


def mapped(**arguments: Any) -> Any:
    """The first of the tasks that a mapped one becomes when it runs."""
    return AdjustSendEventsOperator.partial(task_id="send", **arguments).expand(events=[[], []]).unmap({"events": []})


with_operator = pytest.mark.parametrize("operator", [send, sql_to_adjust, mapped])
Make = Callable[..., Any]


@pytest.mark.parametrize(
    "operator",
    [
        send,
        sql_to_adjust,
        mapped,
    ],
)
def test_a_sending_task_has_the_policy_by_default(operator: Make) -> None:
    assert type(operator().retry_policy) is AdjustRetryPolicy


@with_operator
def test_a_policy_that_the_user_gives_wins(operator: Make) -> None:
    policies = [ExceptionRetryPolicy(rules=[]), Patient()]
    assert [operator(retry_policy=policy).retry_policy for policy in policies] == policies


@pytest.mark.parametrize(
    "operator",
    [
        send,
        sql_to_adjust,
        mapped,
    ],
)
def test_a_policy_in_the_dags_default_args_wins(operator: Make) -> None:
    policy = Patient()
    with DAG("sync", schedule=None, default_args={"retry_policy": policy}):
        assert operator().retry_policy is policy


def test_without_retry_policies_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 3.3 the import fails, and Airflow would refuse the argument."""
    monkeypatch.setattr(adjust_delivery, "AdjustRetryPolicy", None)
    assert send().retry_policy is None


# --- Serialization ----------------------------------------------------------------------------------------------------


def through_the_database(dag: DAG) -> dict[str, Any]:
    """The DAG's tasks as the scheduler has them: serialized, stored as JSON, and read back."""
    from airflow.serialization.serialized_objects import DagSerialization

    stored = json.dumps(DagSerialization.to_dict(dag))
    return {task.task_id: task for task in DagSerialization.from_dict(json.loads(stored)).tasks}


def test_a_dag_with_the_policy_survives_serialization() -> None:
    with DAG("sync", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        AdjustSendEventsOperator(task_id="plain", events=[])
        AdjustSendEventsOperator(task_id="given", events=[], retry_policy=Patient())
        AdjustSendEventsOperator.partial(task_id="mapped").expand(events=[[], []])
        AdjustSendEventsOperator.partial(task_id="mapped_given", retry_policy=Patient()).expand(events=[[], []])
        AdjustSendEventsOperator(task_id="none", events=[]).retry_policy = None
    tasks = through_the_database(dag)
    # The scheduler learns only that there is one; the policy itself is asked on the worker, which imports the DAG.
    assert {task_id: task.has_retry_policy for task_id, task in tasks.items() if task_id != "mapped"} == {
        "plain": True,
        "given": True,
        "mapped_given": True,
        "none": False,
    }
    assert tasks["mapped"].is_mapped


def test_a_policy_in_default_args_survives_serialization() -> None:
    with DAG("sync", schedule=None, default_args={"retry_policy": Patient()}) as dag:
        AdjustSendEventsOperator.partial(task_id="mapped").expand(events=[[], []])
    assert through_the_database(dag)["mapped"].has_retry_policy


def test_it_can_be_written_down_and_read_back() -> None:
    written = json.dumps(AdjustRetryPolicy().serialize())
    again = AdjustRetryPolicy.deserialize(json.loads(written))
    assert type(again) is AdjustRetryPolicy
    assert again.evaluate(AdjustUnreachable("busy", retry_after=90), 1, 3).retry_delay == timedelta(seconds=90)
