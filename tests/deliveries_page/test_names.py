"""Airflow tells DAGs apart by each letter of their ids, and so does the page, on every database of a ledger."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from deliveries_page.conftest import LAST, TWINS, Visit
from deliveries_page.made_ledger import DAGS
from deliveries_page.test_access import VIEWS, total
from folding_ledger import FOLDING, fold
from ledger_rows import write_deliveries

from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.schema import drop_all

pytestmark = pytest.mark.airflow

PURCHASES = DAGS[0]
#: The number of events of each DAG, so that the page's sums identify the DAG.
SENT = {PURCHASES: 1, TWINS[0]: 10, TWINS[1]: 100, TWINS[2]: 1000}
READERS = {"ada": {PURCHASES}, "una": {TWINS[0]}, "bob": set[str](), "root": set(SENT)}


def write(engine: sa.Engine) -> None:
    row = {
        "app_token": "app",
        "event_token": "event",
        "environment": "sandbox",
        "status": "delivered",
        "http_status": 200,
    }
    with engine.begin() as connection:
        write_deliveries(
            connection,
            [
                row | {"occurred_at": LAST - timedelta(hours=1), "event_id": f"<{dag_id}>{number}", "dag_id": dag_id}
                for dag_id, events in SENT.items()
                for number in range(events)
            ],
        )


def test_each_user_sees_the_dags_of_exactly_these_names(visit: Visit, shown_ledger: sa.Engine) -> None:
    write(shown_ledger)
    for who, readable in READERS.items():
        assert total(visit(who)) == sum(SENT[dag_id] for dag_id in readable)
        for view in VIEWS:
            text = visit(who, view).text
            assert {dag_id for dag_id in SENT if f">{dag_id}<" in text} == readable, (who, view)
            for dag_id in SENT:
                found = visit(who, view, params={"dag_id": dag_id}).text
                if view == "/events":
                    assert (f"&lt;{dag_id}&gt;" in found) is (dag_id in readable), (who, dag_id)
                    assert not any(f"&lt;{other}&gt;" in found for other in SENT if other != dag_id)
        for dag_id in SENT:
            location = visit(who, f"/dags/{dag_id}").headers["location"]
            assert ("ledger=other" in location) is (dag_id in readable)


def test_a_ledger_that_takes_names_for_equal_ones_is_not_shown(visit: Visit, shown_ledger: sa.Engine) -> None:
    for new_type in FOLDING[shown_ledger.dialect.name]:
        with shown_ledger.begin() as connection:
            drop_all(connection)
        prepare(shown_ledger)
        fold(shown_ledger, new_type)
        for view in VIEWS:
            response = visit("root", view)
            assert response.status_code == 503
            assert "adjust_try.dag_id treats different texts as equal" in response.text
        assert "ledger=" not in visit("root", f"/dags/{PURCHASES}").headers["location"]
