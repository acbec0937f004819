"""SqlToAdjustOperator: a query's rows become events, from an embedded SQLite and from a real Postgres."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.exceptions import AirflowNotFoundException
from airflow.sdk import DAG
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, START, Said, TaskStateStore, device, recorded, reveals
from operators.sending import has_task_state_store
from transfers.warehouse import SQL, both, operator, postgres, sqlite

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.sql_rows import column_names


@both
def test_the_aliases_are_the_mapping(adjust: SandboxServer, warehouse: str) -> None:
    result = operator().execute({})
    assert (result["read"], result["delivered"]) == (100, 100)
    assert Decimal(result["revenue"]["EUR"]) == 10
    first = next(event["params"] for event in adjust.events())
    assert Decimal(first.pop("revenue")) == Decimal("0.1")
    assert first == {
        "s2s": "1",
        "app_token": APP_TOKEN,
        "environment": "production",
        "event_token": EVENT_TOKEN,
        "gps_adid": device(0),
        "created_at_unix": str(int(START.timestamp())),
        "currency": "EUR",
        "callback_params": '{"event_id":"o-0"}',
    }
    assert adjust.stats()["order_violations"] == 0
    assert len(set(recorded(adjust, "created_at_unix"))) == 100


@both
@pytest.mark.parametrize("fetch_size", [1, 33, 100, 2000])
def test_the_fetch_size_does_not_matter_to_the_result(adjust: SandboxServer, warehouse: str, fetch_size: int) -> None:
    assert operator(fetch_size=fetch_size).execute({})["delivered"] == 100


@both
def test_an_empty_input_is_not_a_failure(adjust: SandboxServer, warehouse: str) -> None:
    result = operator(SQL.replace("ORDER", "WHERE number < 0 ORDER")).execute({})
    assert (result["read"], result["delivered"], result["revenue"]) == (0, 0, {})


@pytest.mark.parametrize(
    ("warehouse", "condition", "parameters"),
    [
        ("sqlite", "number < ?", [7]),
        ("sqlite", "number < ?", (7,)),
        ("sqlite", "number < :below", {"below": 7}),
        ("postgres", "number < %s", [7]),
        ("postgres", "number < %(below)s AND order_id LIKE 'o-%%'", {"below": 7}),
        # Without parameters a percent sign is a percent sign.
        ("postgres", "number < 7 AND order_id LIKE 'o-%'", None),
    ],
    indirect=["warehouse"],
)
def test_parameters_are_the_drivers(adjust: SandboxServer, warehouse: str, condition: str, parameters: Any) -> None:
    result = operator(SQL.replace("ORDER", f"WHERE {condition} ORDER"), parameters=parameters).execute({})
    assert result["delivered"] == 7


@both
def test_a_sql_file_is_a_template(adjust: SandboxServer, warehouse: str, tmp_path: Path) -> None:
    (tmp_path / "night.sql").write_text(SQL.replace("ORDER", "WHERE number >= {{ params.first }} ORDER"))
    with DAG("from_a_file", schedule=None, template_searchpath=str(tmp_path)):
        task = operator("night.sql", sql_conn_id="{{ params.conn_id }}", parameters=None)
    task.resolve_template_files()
    task.render_template_fields({"params": {"first": 90, "conn_id": "warehouse"}})
    assert task.execute({})["delivered"] == 10


@postgres
def test_the_types_of_postgres_need_no_casts(adjust: SandboxServer, warehouse: str) -> None:
    sql = """
        SELECT 'o-1' AS order_id, gaid::uuid AS gps_adid, total::numeric(12, 2) AS revenue, currency::char(3),
               to_timestamp(bought_at) AS created_at, '192.0.2.7'::inet AS ip_address,
               jsonb_build_object('order', number, 'paid', true) AS callback_params, number > 5 AS tracking_enabled
        FROM purchases WHERE number = 7
    """
    operator(sql).execute({})
    [event] = adjust.events()
    sent = event["params"]
    assert sent["gps_adid"] == device(7)
    assert sent["created_at_unix"] == str(int(START.timestamp()) + 7)
    assert (sent["revenue"], sent["ip_address"], sent["tracking_enabled"]) == ("0.10", "192.0.2.7", "1")
    assert json.loads(sent["callback_params"]) == {"order": "7", "paid": "true", "event_id": "o-1"}


@postgres
def test_the_rejected_file_returns_refused_rows_unchanged(
    adjust: SandboxServer, warehouse: str, tmp_path: Path
) -> None:
    """A decimal and a timestamp are text in the file, and the same event afterwards."""
    sql = SQL.replace("total", "total::numeric(12, 2)").replace("bought_at AS", "to_timestamp(bought_at) AS")
    rejected = tmp_path / "rejected.jsonl"
    adjust.configure(unknown_devices=[device(3)])
    result = operator(sql, rejected_path=str(rejected), max_rejected=0.1).execute({})
    assert (result["delivered"], result["rejected"], result["revenue"]) == (90, 10, {"EUR": "9.00"})
    adjust.configure(unknown_devices=[])
    again = AdjustSendEventsOperator(
        task_id="again", events=str(rejected), event_token=EVENT_TOKEN, id_field="order_id"
    ).execute({})
    assert (again["delivered"], again["revenue"]) == (10, {"EUR": "1.00"})
    assert sorted(recorded(adjust, "created_at_unix")) == [str(int(START.timestamp()) + n) for n in range(100)]


@both
def test_columns_that_the_database_folded_to_upper_case_are_folded_back(adjust: SandboxServer, warehouse: str) -> None:
    sql = """
        SELECT order_id AS "ORDER_ID", gaid AS "GPS_ADID", bought_at AS "CREATED_AT", total AS "REVENUE",
               currency AS "CURRENCY"
        FROM purchases WHERE number < 3 ORDER BY bought_at
    """
    assert operator(sql).execute({})["delivered"] == 3


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["ORDER_ID", "REVENUE"], ["order_id", "revenue"]),
        (["order_id", "revenue"], ["order_id", "revenue"]),
        # Not folded by a database: somebody wrote them so.
        (["order_id", "REVENUE"], ["order_id", "REVENUE"]),
        (["Order_Id", "Revenue"], ["Order_Id", "Revenue"]),
    ],
)
def test_only_columns_that_are_all_upper_case_are_folded(columns: list[str], names: list[str]) -> None:
    assert column_names([(column, None) for column in columns]) == names


@both
def test_columns_match_in_their_own_case_and_then_in_any(adjust: SandboxServer, warehouse: str) -> None:
    """As of Snowflake, where one alias is in quotes and the others are not."""
    sql = """
        SELECT order_id AS "ORDER_ID", gaid AS "GAID", bought_at AS "CREATED_AT", total AS "Revenue", currency AS "CURRENCY",
               'x' AS "shopName", 'one' AS "ROUTE", 'n' AS "loaded_AT"
        FROM purchases ORDER BY bought_at
    """
    for id_field, gaid, route in [
        ("order_id", "gaid", "route"),
        ("ORDER_ID", "GAID", "ROUTE"),
        ("Order_Id", "Gaid", "Route"),
    ]:
        adjust.reset()
        result = operator(
            sql,
            id_field=id_field,
            column_map={gaid: "gps_adid"},
            route_by=route,
            adjust_conn_id={"one": "adjust_default"},
            extra_params=["shopName"],
            ignore_columns=["LOADED_AT"],
        ).execute({})
        assert result["delivered"] == 100
        assert set(recorded(adjust, "shopName")) == {"x"}


@both
def test_a_query_out_of_order_names_order_by_and_leaves_what_came_before(
    adjust: SandboxServer, warehouse: str, said: Said
) -> None:
    sql = SQL.replace("ORDER BY bought_at, order_id", "ORDER BY CASE number WHEN 40 THEN 60 ELSE number END, number")
    with pytest.raises(AirflowFailException) as failure:
        operator(sql).execute({})
    message = str(failure.value)
    # 41 to 59 come first, then 40.
    assert "StreamOutOfOrder: row 60 (event o-40)" in message
    assert "before row 59 (event o-59)" in message
    assert "add ORDER BY on the column that is sent as created_at" in message
    expected = [number for number in range(60) if number != 40]
    assert sorted(recorded(adjust, "created_at_unix")) == [str(int(START.timestamp()) + n) for n in expected]
    assert not reveals(message)
    assert not reveals(said)


BREAKS = {
    "sqlite": (
        """
        SELECT order_id, gaid AS gps_adid, bought_at AS created_at, currency,
               CASE number WHEN 52 THEN abs(-9223372036854775808) ELSE total END AS revenue
        FROM purchases ORDER BY number
        """,
        "integer overflow",
    ),
    "postgres": (
        """
        SELECT 'o-' || number AS order_id, 'device-' || number AS gps_adid, 'EUR' AS currency,
               extract(epoch FROM now())::int - 1000 + number AS created_at, 1 / abs(52 - number) + 1 AS revenue
        FROM generate_series(0, 99) AS number
        """,
        "division by zero",
    ),
}


@both
@pytest.mark.parametrize("durable", [False, pytest.param(True, marks=has_task_state_store)])
def test_a_database_error_on_the_way_delivers_what_was_read_then_fails(
    adjust: SandboxServer, warehouse: str, durable: bool
) -> None:
    sql, words = BREAKS[warehouse]
    with pytest.raises(Exception, match=words if durable else "Some events were sent") as failure:
        operator(sql, fetch_size=5).execute({"task_state_store": TaskStateStore()} if durable else {})
    # With a checkpoint, a retry may continue from there, and the database may work again.
    assert isinstance(failure.value, AirflowFailException) is not durable
    assert words in str(failure.value if durable else failure.value.__cause__)
    assert adjust.stats()["recorded"] == 50  # ten times five; the fetch that failed gave nothing


@both
def test_columns_that_are_ignored_may_have_one_name(adjust: SandboxServer, warehouse: str) -> None:
    """As with `SELECT *` over a join."""
    sql = SQL.replace("total AS revenue", "total AS revenue, 1 AS id, 2 AS id")
    assert operator(sql, ignore_columns="*").execute({})["delivered"] == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sql": SQL.replace("total AS revenue", "total AS revenu")}, "unknown columns: 'revenu' .revenue.."),
        ({"sql": SQL.replace("currency", "gaid AS country")}, "missing: currency, which revenue needs"),
        ({"id_field": "order_no"}, "it has no column 'order_no', which id_field names .'order_id'.."),
        ({"sql": f"SELECT * FROM ({SQL}) AS shown WHERE 1 = 0", "event_token": None}, "missing: event_token"),
        ({"route_by": "app", "adjust_conn_id": {"a": "adjust_default"}}, "no column 'app', which route_by names"),
    ],
)
@both
def test_first_contact_is_one_error_before_anything_is_sent(
    adjust: SandboxServer, warehouse: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=f"(?s)AdjustConfigurationError: the sql cannot be sent.*{words}"):
        operator(**arguments).execute({})
    assert adjust.stats()["requests"] == 0


@both
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sql": SQL.replace("total AS revenue", "total AS currency")}, "it gives 'currency' in two columns"),
        ({"sql": 'SELECT 1 AS "A", 2 AS "A", 3 AS "B", 4 AS "B"'}, "unknown columns: 'a', 'b'"),
        ({"sql": ["SELECT 1", "SELECT 2"]}, "sql must be one SELECT, not a list of statements"),
        ({"sql_conn_id": "adjust_default"}, "is a AdjustS2SHook; it must be a database connection"),
        ({"environment": "staging"}, "environment is 'staging'"),
    ],
)
def test_a_query_that_cannot_be_fails_for_good_before_anything_is_sent(
    adjust: SandboxServer, warehouse: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        operator(**arguments).execute({})
    assert adjust.stats()["requests"] == 0


@sqlite
def test_a_statement_that_returns_nothing_is_refused_and_changes_nothing(
    adjust: SandboxServer, warehouse: str, sqlite_path: Path
) -> None:
    with pytest.raises(AirflowFailException, match="it must be one SELECT"):
        operator("UPDATE purchases SET total = 0").execute({})
    with sqlite3.connect(sqlite_path) as connection:
        assert connection.execute("SELECT MIN(total) FROM purchases").fetchone() == (0.1,)


@both
def test_a_query_that_the_database_refuses_is_its_own_error(adjust: SandboxServer, warehouse: str) -> None:
    with pytest.raises(Exception, match="no_such_column"):
        operator("SELECT no_such_column FROM purchases").execute({})
    assert adjust.stats()["requests"] == 0


def test_a_connection_that_does_not_exist_is_airflows_own_error(adjust: SandboxServer) -> None:
    with pytest.raises(AirflowNotFoundException, match="no_such_warehouse"):
        operator(sql_conn_id="no_such_warehouse").execute({})


@sqlite
def test_the_connection_is_closed_when_the_delivery_fails(
    adjust: SandboxServer, warehouse: str, calls: list[tuple[str, Any]]
) -> None:
    adjust.configure(tokens=["other"])
    with pytest.raises(AirflowFailException, match="not_authorized"):
        operator().execute({})
    assert [name for name, _ in calls if name == "close"] == ["close", "close"]


@both
def test_a_dry_run_reads_the_query_and_sends_nothing(adjust: SandboxServer, warehouse: str, said: Said) -> None:
    assert operator(dry_run=True).execute({})["skipped"] == 100
    assert adjust.stats()["requests"] == 0
    assert not reveals(said)
