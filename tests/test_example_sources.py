"""The examples of where events come from, each as it is: warehouses, XCom, files, two apps."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
import sqlalchemy as sa
import sqlglot
from load_purchases import load
from warm_airflow import airflow_command

from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"
PAGE = EXAMPLES.parent / "docs" / "guides" / "warehouses.md"
S2S_TOKEN = "the-s2s-token-of-the-example"
#: As sqlglot calls them.
DIALECTS = ["postgres", "redshift", "snowflake", "bigquery", "databricks", "trino"]

pytestmark = pytest.mark.airflow


def last_midnight() -> datetime:
    return (datetime.now(UTC) - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def account(sandbox: SandboxServer, app_token: str = "4w565xzmb54d", s2s_token: str = S2S_TOKEN) -> str:
    """A connection to the stand-in, as an environment variable has it."""
    extra = {"app_token": app_token, "environment": "sandbox"}
    return json.dumps({"conn_type": "adjust", "host": sandbox.url, "password": s2s_token, "extra": extra})


def dags_test(dag_id: str, *arguments: str, **environment: str) -> str:
    """``airflow dags test``: its log, once it has succeeded."""
    done = airflow_command("dags", "test", dag_id, *arguments, env=os.environ | environment)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-5000:]
    assert S2S_TOKEN not in log
    assert "38400000" not in log  # how the examples' device ids begin
    return log


@pytest.fixture
def sandbox(adjust_sandbox: SandboxServer) -> SandboxServer:
    adjust_sandbox.configure(tokens=[S2S_TOKEN], app_tokens=["4w565xzmb54d"], event_tokens=["f0ob4r"])
    return adjust_sandbox


# -- warehouses ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    """The DAGs of the example, by their ids."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined]

    return dict(DagBag(str(EXAMPLES / "adjust_from_warehouses.py")).dags)


@pytest.fixture
def shop(postgres_url: str) -> dict[str, Any]:
    """A real Postgres with two customers and their purchases of the last day; return the fields of its connection."""
    engine = sa.create_engine(postgres_url)
    start = last_midnight() - timedelta(days=1)
    with engine.begin() as connection:
        for statement in (
            "DROP SCHEMA IF EXISTS shop CASCADE",
            "CREATE SCHEMA shop",
            "CREATE TABLE shop.customers (customer_id INTEGER, gps_adid TEXT, idfa TEXT, os_name TEXT)",
            "CREATE TABLE shop.purchases (order_id TEXT, customer_id INTEGER, purchased_at TIMESTAMP,"
            " amount NUMERIC(12, 2), currency TEXT)",
            "INSERT INTO shop.customers VALUES (0, '38400000-8cf0-11bd-b23e-10b96e40000d', NULL, 'android'),"
            " (1, NULL, '38400000-8CF0-11BD-B23E-10B96E40000E', 'ios')",
            # The first and the last are outside the interval.
            "INSERT INTO shop.purchases SELECT 'order-' || hour, hour % 2,"
            f" TIMESTAMP '{start:%F %T}' + hour * INTERVAL '1 hour', 1.5 + hour, 'EUR'"
            " FROM generate_series(-1, 24) AS hour",
        ):
            connection.execute(sa.text(statement))
    engine.dispose()
    address = sa.make_url(postgres_url)
    return {
        "conn_type": "postgres",
        "host": address.host or address.query["host"],
        "login": address.username,
        "schema": address.database,
    }


def rendered(task: SqlToAdjustOperator) -> dict[str, Any]:
    """Render the task's templates for the last day; return the context that it would run in."""
    end = pendulum.instance(last_midnight())
    context: dict[str, Any] = {
        "dag": task.dag,
        "params": dict(task.params),
        "ts_nodash": "20261118T000000",
        "data_interval_start": end.subtract(days=1),
        "data_interval_end": end,
    }
    task.render_template_fields(context)
    return context


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_sql_of_each_warehouse_is_of_its_dialect_and_delivers_a_day(
    dags: dict[str, Any],
    shop: dict[str, Any],
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dialect: str,
) -> None:
    """Each is parsed in its own dialect, and run on Postgres, which reads the same text."""
    task = dags[f"adjust_from_{dialect}"].get_task("send_purchases")
    monkeypatch.setenv(f"AIRFLOW_CONN_{task.sql_conn_id.upper()}", json.dumps(shop))
    monkeypatch.setenv("AIRFLOW_CONN_ADJUST_DEFAULT", account(sandbox))
    task.hook_params = None  # they are for the warehouse's own hook
    task.rejected_path = (tmp_path / "rejected.jsonl").as_uri()
    context = rendered(task)
    [statement] = sqlglot.parse(task.sql, read=dialect)
    assert statement is not None
    assert statement.find(sqlglot.exp.Command) is None  # what sqlglot cannot parse it calls a command

    result = task.execute(context)
    assert (result["read"], result["delivered"]) == (24, 24)
    assert result["revenue"] == {"EUR": str(sum(range(24)) + 24 * 1.5) + "0"}
    assert sandbox.stats()["order_violations"] == 0


def test_the_example_of_postgres_runs_as_it_is(
    airflow_db: Path, shop: dict[str, Any], sandbox: SandboxServer, tmp_path: Path
) -> None:
    dags_test(
        "adjust_from_postgres",
        last_midnight().isoformat(),
        AIRFLOW_CONN_POSTGRES_DEFAULT=json.dumps(shop),
        AIRFLOW_CONN_ADJUST_DEFAULT=account(sandbox),
        AIRFLOW__ADJUST__FILES_FOLDER=str(tmp_path),
    )
    assert sandbox.stats()["recorded"] == 24


def test_the_page_shows_the_connection_that_each_example_has(dags: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for dialect in DIALECTS:
        task = dags[f"adjust_from_{dialect}"].get_task("send_purchases")
        assert f"AIRFLOW_CONN_{task.sql_conn_id.upper()}=" in page


# -- tasks, files, apps --------------------------------------------------------------------------------------------------


def test_the_quick_start_sends_one_purchase(airflow_db: Path, sandbox: SandboxServer) -> None:
    dags_test("adjust_quickstart", AIRFLOW_CONN_ADJUST_DEFAULT=account(sandbox))
    [event] = sandbox.events()
    assert (event["params"]["revenue"], event["params"]["currency"]) == ("9.90", "EUR")


@pytest.mark.parametrize(("event", "event_token"), [("purchase", "f0ob4r"), ("subscription", "abc123")])
def test_events_of_an_upstream_task_are_sent_with_the_arguments_that_the_templates_name(
    airflow_db: Path, sandbox: SandboxServer, event: str, event_token: str
) -> None:
    sandbox.configure(event_tokens=[event_token])
    dags_test(
        "adjust_events_from_xcom",
        "--conf",
        json.dumps({"event": event, "environment": "production"}),
        AIRFLOW_CONN_ADJUST_DEFAULT=account(sandbox),
    )
    params = [event["params"] for event in sandbox.events()]
    assert sorted(json.loads(p["callback_params"])["shop"] for p in params) == ["berlin"] * 3 + ["lisbon"] * 3
    assert {p["environment"] for p in params} == {"production"}


def test_events_of_a_file_are_sent_and_what_was_not_is_listed(
    airflow_db: Path, sandbox: SandboxServer, tmp_path: Path
) -> None:
    dags_test(
        "adjust_event_files", AIRFLOW_CONN_ADJUST_DEFAULT=account(sandbox), AIRFLOW__ADJUST__FILES_FOLDER=str(tmp_path)
    )
    assert sandbox.stats()["recorded"] == 100
    assert sandbox.stats()["revenue"] == {"EUR": "199.00"}
    [answers] = (tmp_path / "responses").glob("*.jsonl")
    assert len(answers.read_text().splitlines()) == 100
    assert not list((tmp_path / "rejected").glob("*"))


def test_each_row_goes_to_the_app_of_its_platform(airflow_db: Path, tmp_path: Path) -> None:
    load(f"sqlite:///{tmp_path / 'warehouse.db'}", last_midnight())
    tokens = {"ios": ("iosapp000001", "f0ob4r"), "android": ("androidapp01", "abc123")}
    with (
        SandboxServer(tokens=["s2s-token-ios"], app_tokens=["iosapp000001"], event_tokens=["f0ob4r"]) as ios,
        SandboxServer(tokens=["s2s-token-android"], app_tokens=["androidapp01"], event_tokens=["abc123"]) as android,
    ):
        dags_test(
            "adjust_two_apps",
            last_midnight().isoformat(),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}),
            AIRFLOW_CONN_ADJUST_IOS=account(ios, "iosapp000001", "s2s-token-ios"),
            AIRFLOW_CONN_ADJUST_ANDROID=account(android, "androidapp01", "s2s-token-android"),
            AIRFLOW__ADJUST__FILES_FOLDER=str(tmp_path),
        )
        for sandbox, platform in ((ios, "ios"), (android, "android")):
            events = sandbox.events()
            assert len(events) > 50
            params = {(e["params"]["os_name"], e["params"]["app_token"], e["params"]["event_token"]) for e in events}
            assert params == {(platform, *tokens[platform])}
