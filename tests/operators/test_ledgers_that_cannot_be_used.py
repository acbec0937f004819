"""A ledger that cannot be reached or used: a task says which argument is to blame, and whether a retry helps."""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import purchase
from operators.sending import operator
from reconcile.report_case import DAY, EVENT_TOKEN

from airflow_provider_adjust import routes
from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_prune_ledger import AdjustPruneLedgerOperator
from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, LedgerUnavailable
from airflow_provider_adjust.sandbox import SandboxServer

PASSWORD = "dbPasswordThatNobodyMaySee"


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def send() -> None:
    operator([purchase(1)], ledger_conn_id="ledger").execute({})


def prune() -> None:
    AdjustPruneLedgerOperator(task_id="prune", ledger_conn_id="ledger").execute({})


def reconcile() -> None:
    sql = f"SELECT '{DAY}' AS day, '{EVENT_TOKEN}' AS event_token, 1 AS events"
    AdjustReconcileOperator(task_id="reconcile", sql=sql, sql_conn_id="warehouse", ledger_conn_id="ledger").execute({})


#: A connection; whether a retry may help; what is said.
TROUBLES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "an unreachable host": ({"conn_type": "postgres", "host": "127.0.0.1", "port": closed_port()}, True, "cannot be used"),
    "a folder that is not there": ({"conn_type": "sqlite", "host": "/nowhere/ledger.db"}, True, "cannot be used"),
    "not a database": ({"conn_type": "adjust"}, False, "ledger_conn_id 'ledger' is a AdjustS2SHook"),
    "no such kind": ({"conn_type": "abacus"}, False, "ledger_conn_id 'ledger' cannot be opened"),
}  # fmt: skip


@pytest.fixture
def connect_ledger(
    reporting: SandboxServer, connect_reader: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[dict[str, Any]], None]:
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))

    def connect_ledger(connection: dict[str, Any]) -> None:
        secrets = {"login": "sender", "password": PASSWORD, "schema": "ledger"}
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(secrets | connection))

    return connect_ledger


def check(task: Callable[[], None], may_retry: bool, words: str) -> None:
    kind = LedgerUnavailable if may_retry else AirflowFailException
    with pytest.raises(kind, match=words) as failure:
        task()
    text = str(failure.value)
    assert "ledger_conn_id" in text
    assert may_retry or text.startswith("AdjustConfigurationError: ")
    assert "sql_conn_id" not in text
    assert len(text) < 200
    shown = "".join(traceback.format_exception(failure.value))
    assert PASSWORD not in shown
    assert "Background on this error" not in shown  # SQLAlchemy's own words


@pytest.mark.parametrize("task", [send, prune, reconcile], ids=lambda task: task.__name__)
@pytest.mark.parametrize("name", TROUBLES)
def test_each_task_names_the_ledgers_connection(
    reporting: SandboxServer, connect_ledger: Any, task: Callable[[], None], name: str
) -> None:
    connection, may_retry, words = TROUBLES[name]
    connect_ledger(connection)
    check(task, may_retry, words)
    assert reporting.stats()["recorded"] == 0


@pytest.mark.parametrize("task", [send, prune, reconcile], ids=lambda task: task.__name__)
@pytest.mark.parametrize("login", [{"schema": "nowhere"}, {"login": "nobody"}], ids=["database", "user"])
def test_a_wrong_login_is_not_retried(
    connect_ledger: Any, postgres_url: str, task: Callable[[], None], login: dict[str, str]
) -> None:
    address = sa.make_url(postgres_url)
    fields = {"host": address.host or address.query["host"], "login": address.username, "schema": address.database}
    connect_ledger({"conn_type": "postgres", **fields, **login})
    check(task, False, "refuses the login")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('FATAL:  password authentication failed for user "sender"', AdjustConfigurationError),
        ("(1045, \"Access denied for user 'sender'@'localhost' (using password: YES)\")", AdjustConfigurationError),
        ("(1049, \"Unknown database 'ledger'\")", AdjustConfigurationError),
        ("could not translate host name", LedgerUnavailable),
        ('(2003, "Can\'t connect to server")', LedgerUnavailable),
    ],
)
def test_what_a_database_says_of_a_wrong_login_is_known(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="ledger_conn_id 'ledger'") as failure, routes.named_ledger_errors("ledger"):
        raise sa.exc.OperationalError("SELECT 1", {}, Exception(text))
    assert text not in str(failure.value)


def test_a_database_of_a_kind_that_holds_no_ledger_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hook:
        def get_sqlalchemy_engine(self) -> sa.Engine:
            return sa.create_engine("mssql+pymssql://nowhere")

    monkeypatch.setattr(routes, "sql_hook", lambda *_, **__: Hook())
    with pytest.raises(AirflowFailException, match="ledger_conn_id"):
        prune()
