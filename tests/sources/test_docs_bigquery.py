"""The page docs/guides/bigquery.md: its SQL is BigQuery's, its DAG loads, and its connection does what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
import pendulum
import pytest
import sqlglot
from airflow.sdk import Connection
from sources.driver_hooks import needs

from airflow_provider_adjust.s2s.endpoints.endpoint import endpoint_named
from airflow_provider_adjust.sql_rows import sql_hook

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "bigquery.md"
#: Columns that are no parameter of Adjust's: those that id_field names, and the name of the event.
OWN_COLUMNS = {"order_id", "contract_id", "period", "payment_id", "event"}
PARAMETERS = {"since": "2026-10-24T00:00:00+02:00", "until": "2026-10-26T00:00:00+01:00"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def bound(query: str) -> str:
    """The query as BigQuery gets it: its templates rendered, and its parameters put in by the hook's own rule."""
    rendered = jinja2.Template(query).render(data_interval_end=pendulum.datetime(2026, 10, 26))
    return rendered % {name: f"'{value}'" for name, value in PARAMETERS.items()} if "%(" in rendered else rendered


def connection_of_the_page() -> str:
    [given] = re.findall(r"^export AIRFLOW_CONN_WAREHOUSE='(.*?)'$", "".join(blocks("bash")), re.DOTALL | re.MULTILINE)
    return str(given)


def test_every_query_is_of_bigquerys_dialect() -> None:
    queries = blocks("sql")
    assert queries
    for query in queries:
        [statement] = sqlglot.parse(bound(query), read="bigquery")
        assert isinstance(statement, sqlglot.exp.Select), query
        assert not list(statement.find_all(sqlglot.exp.Command)), "sqlglot calls a command what it cannot parse"


def test_every_query_that_is_sent_has_adjusts_columns_in_the_order_of_time() -> None:
    sent = [query for query in blocks("sql") if " AS created_at" in query]
    assert len(sent) == 4
    for query in sent:
        [statement] = sqlglot.parse(bound(query), read="bigquery")
        assert isinstance(statement, sqlglot.exp.Select)
        assert {*statement.named_selects} - OWN_COLUMNS <= endpoint_named("event").parameters.keys()
        [time] = [column.this.sql() for column in statement.selects if column.alias == "created_at"]
        assert statement.args["order"].expressions[0].this.sql() == time
        assert "%(since)s" in query
        assert "%(until)s" in query


@pytest.mark.airflow
def test_the_dag_loads(tmp_path: Path, airflow_db: Path) -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined]

    [dag] = blocks("python")
    (tmp_path / "purchases_from_bigquery.py").write_text(dag)
    for query in blocks("sql"):
        if named := re.match(r"-- dags/(\S+)\n", query):
            (tmp_path / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / named[1]).write_text(query)
    bag = DagBag(str(tmp_path))
    assert not bag.import_errors
    tasks = bag.dags["purchases_from_bigquery"].task_dict
    assert tasks["send_purchases"].upstream_task_ids == {"check_night"}
    for task in tasks.values():
        assert task.sql.startswith("-- dags/sql/bigquery/"), "its file was found"  # type: ignore[attr-defined]


def test_the_connection_is_of_the_type_that_airflows_own_operators_take() -> None:
    connection = Connection.from_json(connection_of_the_page(), conn_id="warehouse")
    assert connection.conn_type == "gcpbigquery"
    assert connection.extra_dejson["use_legacy_sql"] is False


@needs("airflow.providers.google.cloud.hooks.bigquery")
def test_the_hook_takes_the_dialect_the_place_and_the_limit_from_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryCursor, BigQueryHook

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(json.loads(connection_of_the_page())))
    hook = sql_hook("warehouse", None)
    assert isinstance(hook, BigQueryHook)
    assert hook.location == "EU"
    cursor = BigQueryCursor(object(), "shop-project", hook, use_legacy_sql=hook.use_legacy_sql)
    job = cursor._prepare_query_configuration("SELECT 1")
    assert job["query"]["useLegacySql"] is False
    assert job["query"]["maximumBytesBilled"] == "10737418240"
    assert job["labels"] == {"team": "growth"}
