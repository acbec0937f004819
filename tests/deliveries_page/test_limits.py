"""A database of the page refuses to write, and cancels what is slow."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import tries

pytestmark = pytest.mark.airflow

SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
    "mysql": "SELECT SLEEP(60) FROM adjust_ledger_version",
}


def test_a_slow_query_is_cancelled_and_reported_as_slow(
    shown_ledger: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_adjust.deliveries_page import limits
    from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, open_session

    monkeypatch.setattr(limits, "STATEMENT_TIMEOUT_S", 1)
    with pytest.raises(LedgerReadError, match="Select fewer days, one DAG or one run"), open_session("other") as ledger:
        ledger.connection.exec_driver_sql(SLOW[shown_ledger.dialect.name]).all()


def test_an_answer_of_many_queries_ends_in_time(shown_ledger: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_adjust.deliveries_page import limits
    from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, open_session

    monkeypatch.setattr(limits, "ANSWER_TIMEOUT_S", -1)
    with pytest.raises(LedgerReadError, match="Select fewer days, one DAG or one run"), open_session("other"):
        pytest.fail("the first query is one too many")


def test_the_database_itself_refuses_to_write(shown_ledger: sa.Engine) -> None:
    from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, open_session

    with pytest.raises(LedgerReadError, match="could not be read"), open_session("other") as ledger:
        ledger.connection.execute(tries.delete())


def test_every_driver_with_a_timeout_for_connecting_is_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg2
    import pymysql

    from airflow_provider_adjust.deliveries_page.limits import CONNECT_TIMEOUT_S, limit_connecting

    given: list[object] = []

    def connect(*_: object, **arguments: object) -> None:
        given.append(arguments["connect_timeout"])
        raise ConnectionError

    for driver, url in ((psycopg2, "postgresql+psycopg2://127.0.0.1/a"), (pymysql, "mysql+pymysql://127.0.0.1/a")):
        monkeypatch.setattr(driver, "connect", connect)
        for more, expected in (("", CONNECT_TIMEOUT_S), ("?connect_timeout=2", 2)):
            engine = sa.create_engine(url + more)
            limit_connecting(engine)
            with pytest.raises(ConnectionError):
                engine.connect()
            assert int(str(given[-1])) == expected
