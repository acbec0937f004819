"""What the ledger knows of a task: each of its tries, also one that could send nothing; and a ledger that is of no use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from operators.adjust_account import Connect, device, purchase, recorded
from operators.sending import operator, untraced

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustUnreachable, LedgerUnavailable
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS, events, totals, tries
from airflow_provider_adjust.sandbox import SandboxServer


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    engine = sa.create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


class BrokenSource(AdjustSendEventsOperator):
    """Its query fails."""

    def rows(self, *_: Any) -> Any:
        raise sa.exc.ProgrammingError("SELECT secret FROM warehouse", {}, Exception("no such table"))


def last_try(ledger: sa.Engine) -> Any:
    with ledger.connect() as connection:
        return connection.execute(sa.select(tries).order_by(tries.c.id.desc())).first()


def outcomes(ledger: sa.Engine) -> dict[tuple[str, str], int]:
    with ledger.connect() as connection:
        return {(each.outcome, each.reason): each.events for each in connection.execute(sa.select(totals))}


def test_every_try_is_recorded_also_one_that_could_send_nothing(
    adjust: SandboxServer, connect: Connect, ledger: sa.Engine, tmp_path: Path
) -> None:
    rejected = tmp_path / "rejected.jsonl"
    operator([purchase(1)], ledger_conn_id="ledger").execute({})
    assert (last_try(ledger).state, last_try(ledger).read, last_try(ledger).error) == ("success", 1, "")

    bad = [purchase(number) | {"created_at": "some day"} for number in (2, 3)]
    with pytest.raises(AirflowFailException):
        operator(bad, ledger_conn_id="ledger", rejected_path=str(rejected)).execute({})
    assert (last_try(ledger).state, last_try(ledger).read) == ("failed", 2)
    assert last_try(ledger).error.startswith("RejectedBudgetExceeded: 2 of 2")
    assert last_try(ledger).rejected_path == str(rejected)
    assert outcomes(ledger)["invalid", "invalid_created_at"] == 2

    with pytest.raises(sa.exc.ProgrammingError):
        BrokenSource(task_id="send", events=[], event_token="f0ob4r", ledger_conn_id="ledger").execute({})
    # Its kind only: the text may hold the statement.
    assert (last_try(ledger).state, last_try(ledger).error) == ("failed", "ProgrammingError")

    connect(adjust.url, token="wrong")
    with pytest.raises(AirflowFailException):
        operator([purchase(4)], ledger_conn_id="ledger").execute({})
    assert last_try(ledger).error.startswith("DeliveryHalted: ")

    connect("http://127.0.0.1:9", connect_timeout=1)
    with pytest.raises(AdjustUnreachable):
        operator([purchase(5)], ledger_conn_id="ledger").execute({})
    assert last_try(ledger).error.startswith("AdjustUnreachable: ")


@pytest.mark.parametrize(
    ("connection", "error"),
    [
        ({"conn_type": "http", "host": "127.0.0.1"}, AdjustConfigurationError),
        ({"conn_type": "sqlite", "host": "/nowhere/at/all.db"}, LedgerUnavailable),
        (
            {"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "login": "user", "password": "pa55word"},
            LedgerUnavailable,
        ),
    ],
    ids=["no database", "no file", "nobody answers"],
)
def test_a_ledger_that_is_of_no_use_is_named_by_its_argument_without_its_address(
    adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], error: type[Exception]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    expected = AirflowFailException if error is AdjustConfigurationError else error
    with pytest.raises(expected, match="ledger_conn_id 'ledger'") as failure:
        operator([purchase(1)], ledger_conn_id="ledger").execute({})
    assert adjust.stats()["requests"] == 0
    assert not any(secret in str(failure.value) for secret in ("pa55word", "127.0.0.1", "/nowhere", "sql_conn_id"))


def test_two_runs_over_one_window_send_each_event_once(adjust: SandboxServer, ledger: sa.Engine) -> None:
    rows = [purchase(number) for number in range(1, 6)]
    first = operator(rows, ledger_conn_id="ledger").execute({})
    second = operator(rows, ledger_conn_id="ledger", task_id="another").execute({})
    assert (first["delivered"], second["delivered"], second["skipped"]) == (5, 0, 5)
    assert adjust.stats()["recorded"] == 5


# -- what another DAG has ------------------------------------------------------------------------------------------------


def of(dag_id: str) -> Any:
    """The context of a task of this DAG."""
    return {"ti": SimpleNamespace(dag_id=dag_id, run_id="night", task_id="send", map_index=-1, try_number=1)}


SAID = (
    "1 events (1.25 EUR) were not sent, because the ledger has them from DAG team_b. If that is wrong, give this DAG a "
    'ledger of its own; if it is right, set on_foreign_claim="allow"'
)


@pytest.mark.parametrize(
    ("argument", "configured", "fails", "warns"),
    [
        (None, None, False, True),
        (None, "allow", False, False),
        (None, "error", True, False),
        ("warn", "error", False, True),
        ("error", None, True, False),
        ("allow", "error", False, False),
    ],
)
def test_what_another_dag_has_is_a_warning_or_a_failure_as_the_task_or_the_deployment_says(
    adjust: SandboxServer,
    connect: Connect,
    ledger: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    argument: Any,
    configured: str | None,
    fails: bool,
    warns: bool,
) -> None:
    operator([purchase(1)], ledger_conn_id="ledger").execute(of("team_b"))
    if configured:
        monkeypatch.setenv("AIRFLOW__ADJUST__ON_FOREIGN_CLAIM", configured)
    task = operator([purchase(1), purchase(2)], ledger_conn_id="ledger", on_foreign_claim=argument)
    if fails:
        with pytest.raises(AirflowFailException) as failure:
            task.execute(of("team_a"))
        assert SAID in str(failure.value)
        assert last_try(ledger).error == f"ClaimedByAnotherDag: {SAID}"
    else:
        assert task.execute(of("team_a"))["skipped"] == 1
    assert ([each.getMessage() for each in caplog.records].count(SAID) == 1) is warns
    assert recorded(adjust) == [device(1), device(2)]  # each once, and before the failure


def test_the_deliverys_own_failure_has_priority_and_foreign_claims_are_still_reported(
    adjust: SandboxServer, connect: Connect, ledger: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    operator([purchase(1)], ledger_conn_id="ledger").execute(of("team_b"))
    rows = [purchase(1), purchase(2, created_at="some day")]
    with pytest.raises(AirflowFailException, match=r"1 of 1 new events .* were refused"):
        operator(rows, ledger_conn_id="ledger", on_foreign_claim="error").execute(of("team_a"))
    assert SAID in caplog.text


def test_a_policy_that_does_not_exist_is_refused_before_anything_is_sent(
    adjust: SandboxServer, connect: Connect, ledger: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__ON_FOREIGN_CLAIM", "ignore")
    with pytest.raises(AirflowFailException, match=r"\[adjust\] on_foreign_claim is 'ignore'; it must be one of warn"):
        operator([purchase(1)], ledger_conn_id="ledger").execute({})
    monkeypatch.delenv("AIRFLOW__ADJUST__ON_FOREIGN_CLAIM")
    with pytest.raises(AirflowFailException, match="on_foreign_claim is 'ignore'"):
        operator([purchase(1)], ledger_conn_id="ledger", on_foreign_claim="ignore").execute({})
    assert recorded(adjust) == []


@pytest.mark.parametrize("on_in_doubt", ["resend", "hold"])
def test_a_timeout_leaves_no_event_in_doubt_that_was_claimed_and_not_sent(
    adjust: SandboxServer, ledger: sa.Engine, tmp_path: Path, on_in_doubt: str
) -> None:
    """Airflow's timeout ends the task at any place. At this pace, dozens of events are claimed that were not sent."""
    rows = [purchase(number) for number in range(1, 101)]
    options: dict[str, Any] = {"ledger_conn_id": "ledger", "on_in_doubt": on_in_doubt, "max_in_flight": 2}
    rejected = tmp_path / "rejected.jsonl"
    task = operator(rows, **options, max_events_per_second=20, rejected_path=str(rejected))
    with untraced(), pytest.raises(AirflowTaskTimeout), timeout(1.2):
        task.execute({})
    with ledger.connect() as connection:
        left = Counter(connection.scalars(sa.select(events.c.status)))
    assert left[STATUS_NUMBERS["delivered"]] > 5
    assert left.total() - left[STATUS_NUMBERS["delivered"]] <= 2, "what was in flight"
    assert task.delivery_result is not None
    held = task.delivery_result["held"]
    assert held == task.delivery_result["read"] - left.total()
    assert held == outcomes(ledger)["held", "stopped"] == len(rejected.read_text().splitlines())
    if on_in_doubt == "resend":
        assert operator(rows, **options).execute({})["delivered"] + left.total() >= 100
        assert len(set(recorded(adjust, "created_at_unix"))) == 100
