"""Lineage of the sending operators: the source is the input, Adjust's apps and events are the output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
import sqlalchemy as sa
from operators.adjust_account import APP_TOKEN, EVENT_TOKEN, S2S_TOKEN, START, Connect, Said, device, purchase, reveals

from airflow_provider_adjust import lineage
from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer
from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

OTHER_APP = "abc123def456"
SQL = "SELECT gaid AS gps_adid, bought_at AS created_at FROM purchases WHERE bought_at < {limit} ORDER BY bought_at"
BELOW = int(START.timestamp()) + 1
ADJUST = [f"adjust://{APP_TOKEN}/{EVENT_TOKEN}"]


def send(events: Any, **arguments: Any) -> AdjustSendEventsOperator:
    given = {"task_id": "send", "event_token": EVENT_TOKEN, "id_field": "order_id"}
    return AdjustSendEventsOperator(events=events, **(given | arguments))


def send_query(limit: str, parameters: Any) -> SqlToAdjustOperator:
    return SqlToAdjustOperator(
        task_id="send",
        sql=SQL.format(limit=limit),
        parameters=parameters,
        sql_conn_id="warehouse",
        event_token=EVENT_TOKEN,
    )


@pytest.fixture
def purchases_file(tmp_path: Path) -> Path:
    path = tmp_path / "purchases.jsonl"
    path.write_text("".join(json.dumps(purchase(number)) + "\n" for number in range(3)))
    return path


def fill(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS purchases"))
        connection.execute(sa.text("CREATE TABLE purchases (gaid VARCHAR(36), bought_at INTEGER)"))
        row = {"gaid": device(1), "bought_at": int(START.timestamp())}
        connection.execute(sa.text("INSERT INTO purchases VALUES (:gaid, :bought_at)"), row)
    engine.dispose()


@pytest.fixture
def sqlite_warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.db"
    fill(f"sqlite:///{path}")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))


@pytest.fixture
def postgres_warehouse(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> sa.URL:
    fill(postgres_url)
    address = sa.make_url(postgres_url)
    fields = {"host": address.query["host"], "login": address.username, "schema": address.database}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", "password": S2S_TOKEN, **fields}))
    return address


# --- Airflow's hook lineage -------------------------------------------------------------------------------------------


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Airflow's own collector, switched on as a plugin that reads lineage switches it on."""
    airflow_lineage = pytest.importorskip("airflow.sdk.lineage", reason="Airflow 3.1 keeps it elsewhere")
    from airflow.sdk import plugins_manager

    monkeypatch.setattr(plugins_manager, "get_hook_lineage_readers_plugins", lambda: [SimpleNamespace()])
    airflow_lineage.get_hook_lineage_collector.cache_clear()
    yield airflow_lineage.get_hook_lineage_collector()
    airflow_lineage.get_hook_lineage_collector.cache_clear()


def uris(infos: list[Any]) -> list[str]:
    return [info.asset.uri for info in infos]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_file_flows_to_an_event(adjust: SandboxServer, collected: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"purchases{suffix}"
    row = {name: text for name, text in purchase(1).items() if name != "user_agent"}
    text = {
        ".jsonl": json.dumps(row) + "\n",
        ".json": json.dumps([row]),
        ".csv": ",".join(row) + "\n" + ",".join(row.values()) + "\n",
    }
    path.write_text(text[suffix])
    send(path.as_uri()).execute({})
    found = collected.collected_assets
    assert (uris(found.inputs), uris(found.outputs)) == ([path.as_uri()], ADJUST)
    assert [info.context.__class__.__name__ for info in found.outputs] == ["AdjustS2SHook"]


@pytest.mark.parametrize(("limit", "parameters"), [(str(BELOW), None), ("%s", [BELOW])], ids=["written out", "bound"])
def test_a_querys_tables_flow_to_an_event_by_name(
    adjust: SandboxServer, collected: Any, postgres_warehouse: sa.URL, limit: str, parameters: Any
) -> None:
    pytest.importorskip("airflow.providers.openlineage")
    send_query(limit, parameters).execute({})
    found = collected.collected_assets
    [uri] = uris(found.inputs)
    assert uri.startswith("postgres://")
    assert uri.endswith(f"/{postgres_warehouse.database}/public/purchases")
    assert uris(found.outputs) == ADJUST
    assert [info.context.__class__.__name__ for info in found.inputs] == ["PostgresHook"]
    assert str(BELOW) not in str(found)
    assert "gaid" not in str(found), "no part of the query's text"


def test_a_query_is_parsed_only_if_something_reads_its_lineage(
    adjust: SandboxServer, sqlite_warehouse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenLineage's parser loads much of Airflow, which would double the time to a task's first request."""
    parse = create_autospec(lineage.query_lineage)
    monkeypatch.setattr(lineage, "query_lineage", parse)
    assert send_query("?", [BELOW]).execute({})["delivered"] > 0
    parse.assert_not_called()


def test_a_query_without_named_tables_has_no_source(
    adjust: SandboxServer, collected: Any, sqlite_warehouse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_query("?", [BELOW]).execute({})
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.sqlparser", None)
    send_query("?", [BELOW]).execute({})
    found = collected.collected_assets
    assert (uris(found.inputs), set(uris(found.outputs)), found.extra) == ([], set(ADJUST), [])


def test_a_list_has_no_source(adjust: SandboxServer, collected: Any) -> None:
    send([purchase(1)]).execute({})
    found = collected.collected_assets
    assert (uris(found.inputs), uris(found.outputs)) == ([], ADJUST)


def test_each_app_and_event_that_was_reached_is_named_once(
    adjust: SandboxServer, connect: Connect, collected: Any
) -> None:
    adjust.configure(app_tokens=[APP_TOKEN, OTHER_APP], event_tokens=[EVENT_TOKEN, "abc123"])
    connect(adjust.url, "adjust_ios", app_token=OTHER_APP)
    events = [
        *(purchase(number, store="play") for number in range(3)),
        *(purchase(number, store="apple", event_token="abc123") for number in range(3, 6)),
    ]
    send(events, adjust_conn_id={"play": "adjust_default", "apple": "adjust_ios"}, route_by="store").execute({})
    assert uris(collected.collected_assets.outputs) == [*ADJUST, f"adjust://{OTHER_APP}/abc123"]


def test_a_failed_run_names_what_it_reached(adjust: SandboxServer, collected: Any) -> None:
    adjust.configure(event_tokens=[EVENT_TOKEN, "abc123"], unknown_devices=[device(2)])
    events = [purchase(1), purchase(2, event_token="abc123"), purchase(3, revenue="-1", event_token="abc123")]
    with pytest.raises(AirflowFailException):
        send(events).execute({})
    assert uris(collected.collected_assets.outputs) == ADJUST


def test_a_dry_run_reaches_nothing(adjust: SandboxServer, collected: Any) -> None:
    send([purchase(1)], dry_run=True).execute({})
    assert uris(collected.collected_assets.outputs) == []


def test_a_collector_that_fails_fails_no_delivery(
    adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch, purchases_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise RuntimeError(S2S_TOKEN)

    monkeypatch.setattr(lineage, "get_hook_lineage_collector", broken)
    assert send(purchases_file.as_uri()).execute({})["delivered"] == 3
    assert "The lineage of this run is incomplete (RuntimeError)" in caplog.text
    assert not reveals(caplog.text)


# --- OpenLineage ------------------------------------------------------------------------------------------------------


def facets(operator: Any) -> Any:
    """What Airflow's OpenLineage provider makes of the operator when its task has ended."""
    extractors = pytest.importorskip("airflow.providers.openlineage.extractors.base")
    return extractors.DefaultExtractor(operator).extract_on_complete(task_instance=None)


def names(datasets: list[Any]) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


OUTPUT = [("adjust", f"{APP_TOKEN}/{EVENT_TOKEN}")]


@pytest.mark.parametrize(
    ("limit", "parameters"),
    [
        (str(BELOW), None),
        ("%s", [BELOW]),
        ("%(limit)s", {"limit": BELOW}),
        ("%(limit)s AND gaid NOT LIKE '0%%'", {"limit": BELOW}),
    ],
    ids=["written out", "by position", "by name", "with a percent sign"],
)
def test_openlineage_sees_the_table_and_the_event(
    adjust: SandboxServer, postgres_warehouse: sa.URL, limit: str, parameters: Any
) -> None:
    operator = send_query(limit, parameters)
    operator.execute({})
    found = facets(operator)
    [(namespace, name)] = names(found.inputs)
    assert namespace.startswith("postgres://")
    assert name == f"{postgres_warehouse.database}.public.purchases"
    assert names(found.outputs) == OUTPUT
    assert not found.job_facets
    assert not found.run_facets
    assert not found.inputs[0].facets
    assert str(BELOW) not in str(found)
    assert not [secret for secret in reveals(found) if secret != APP_TOKEN]


def test_a_query_that_openlineage_cannot_parse_is_not_quoted(adjust: SandboxServer, postgres_warehouse: sa.URL) -> None:
    operator = send_query(str(BELOW), None)
    operator.sql = "SELEKT ((( 'ms.person@mail.example' FROM WHERE ip = '203.0.113.77"
    found = facets(operator)
    assert names(found.outputs) == []
    assert "person" not in str(found)
    assert "203.0.113" not in str(found)


def test_openlineage_sees_the_event_where_the_database_has_no_name_for_it(
    adjust: SandboxServer, sqlite_warehouse: None
) -> None:
    operator = send_query("?", [BELOW])
    operator.execute({})
    found = facets(operator)
    assert (names(found.inputs), names(found.outputs)) == ([], OUTPUT)


def test_openlineage_gets_the_event_without_the_database(
    adjust: SandboxServer,
    postgres_warehouse: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    operator = send_query("%s", [BELOW])
    operator.execute({})
    gone = {"conn_type": "postgres", "host": "/nowhere", "password": S2S_TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(gone))
    assert names(facets(operator).outputs) == OUTPUT
    assert "The lineage of this run is incomplete (OperationalError)" in caplog.text
    assert not reveals(caplog.text)


def test_openlineage_sees_the_file_and_the_event(adjust: SandboxServer, purchases_file: Path) -> None:
    operator = send(purchases_file.as_uri())
    operator.execute({})
    found = facets(operator)
    assert names(found.inputs) == [("file", str(purchases_file))]
    assert names(found.outputs) == OUTPUT


def test_without_openlineage_there_is_nothing_to_tell(
    adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)
    operator = send([purchase(1)])
    operator.execute({})
    assert operator.get_openlineage_facets_on_complete(None) is None
    assert "lineage" not in str(said)
