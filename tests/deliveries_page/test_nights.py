"""The first view: what became of each DAG's last night."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from deliveries_page.conftest import Visit
from deliveries_page.made_nights import BEFORE, NIGHT, NOW, make_scopes, record_try

from airflow_provider_adjust.deliveries_page.nights import last_nights
from airflow_provider_adjust.s2s.ledger.schema import events, reasons


@pytest.fixture(autouse=True)
def two_environments(shown_ledger: sa.Engine) -> None:
    make_scopes(shown_ledger)


def verdicts(engine: sa.Engine, *dag_ids: str) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        return [(each.dag_id, each.environment, each.verdict) for each in last_nights(connection, dag_ids, NOW)]


def test_each_end_of_a_night_has_its_verdict_and_the_worst_comes_first(shown_ledger: sa.Engine) -> None:
    delivered = ("delivered", "", 438, "15139.86")
    record_try(shown_ledger, "all", [delivered])
    record_try(shown_ledger, "rerun", [("skipped", "delivered_before", 438, None)])
    record_try(shown_ledger, "some", [delivered, ("rejected", "device_not_found", 7, "120.00")])
    record_try(shown_ledger, "budget", [delivered, ("invalid", "invalid_revenue", 9, None)], state="failed")
    record_try(shown_ledger, "empty")
    record_try(shown_ledger, "broken", [("invalid", "invalid_currency", 500, None)], state="failed")
    record_try(shown_ledger, "token", state="failed", error="DeliveryHalted: the token is wrong")
    record_try(shown_ledger, "goes", [("delivered", "", 3, "9.00")], state="running", hours_ago=0.1)
    record_try(shown_ledger, "dead", state="running", dies=True)
    names = ("all", "rerun", "some", "budget", "empty", "broken", "token", "goes", "dead")
    found = [(dag_id, verdict) for dag_id, _, verdict in verdicts(shown_ledger, *names)]
    assert found == [
        ("broken", "failed"),
        ("token", "failed"),
        ("dead", "killed"),
        ("budget", "partly"),
        ("some", "partly"),
        ("empty", "nothing"),
        ("goes", "running"),
        ("all", "arrived"),
        ("rerun", "arrived"),
    ]
    assert verdicts(shown_ledger, "SOME", "soMe", "nobody") == []


def test_the_last_scheduled_run_counts_and_what_arrived_in_its_earlier_tries(shown_ledger: sa.Engine) -> None:
    record_try(shown_ledger, "shop", [("delivered", "", 9, "9.00")], run_id=BEFORE, hours_ago=29)
    first = [("delivered", "", 400, "1000.00"), ("held", "stopped", 38, "95.00")]
    record_try(shown_ledger, "shop", first, state="failed", is_latest=False)
    record_try(shown_ledger, "shop", [("delivered", "", 36, "90.00"), ("rejected", "device_not_found", 2, "5.00")])
    # A backfill by hand, later.
    record_try(shown_ledger, "shop", [("delivered", "", 1, "1.00")], run_id="manual__x", hours_ago=1)
    with shown_ledger.connect() as connection:
        [night] = last_nights(connection, ["shop"], NOW)
    assert (night.run_id, night.verdict, night.delivered) == (NIGHT, "partly", 436)
    assert {currency: f"{amount:.2f}" for currency, amount in night.revenue.items()} == {"USD": "1090.00"}
    assert [(each.outcome, each.reason.code, each.events) for each in night.missing] == [
        ("rejected", "device_not_found", 2)
    ]
    assert night.last_success is not None
    assert NOW - night.last_success == timedelta(minutes=58)


def test_environments_are_apart_also_for_rows_that_could_not_be_read(shown_ledger: sa.Engine) -> None:
    record_try(shown_ledger, "rehearsal", [("invalid", "invalid_revenue", 4, None)], environment="sandbox")
    record_try(shown_ledger, "shop", [("delivered", "", 2, "7.00"), ("invalid", "invalid_revenue", 4, None)])
    record_try(shown_ledger, "early", state="failed", environment="")
    assert verdicts(shown_ledger, "rehearsal", "shop", "early") == [
        ("early", "", "failed"),
        ("rehearsal", "sandbox", "failed"),
        ("shop", "production", "partly"),
    ]


def test_what_a_killed_try_was_sending_is_missing(shown_ledger: sa.Engine) -> None:
    number = record_try(shown_ledger, "dead", [("delivered", "", 5, "5.00")], state="running", dies=True)
    with shown_ledger.begin() as connection:
        connection.execute(reasons.insert().values(id=1, code=""))
        connection.execute(
            events.insert().values(
                occurred_at=NOW,
                try_id=number,
                scope_id=1,
                position=1,
                status=0,
                reason=1,
                lost_answers=0,
                event_id="order-1",
                currency="USD",
                revenue="12.50",
            )
        )
        [night] = last_nights(connection, ["dead"], NOW)
    assert (night.verdict, night.delivered, night.missing_events) == ("partly", 5, 1)
    assert {currency: f"{amount:.2f}" for currency, amount in night.missing_revenue.items()} == {"USD": "12.50"}
    assert night.missing[0].outcome == "in_doubt"


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.airflow
def test_the_page_opens_with_the_last_night_of_production(shown_ledger: sa.Engine, visit: Visit) -> None:
    dag_id = "shop_purchases"
    record_try(
        shown_ledger,
        dag_id,
        [("delivered", "", 438, "15139.86"), ("rejected", "device_not_found", 7, "1120.50")],
        state="failed",
        rejected_path="s3://bucket/<night>.jsonl",
        error="RejectedBudgetExceeded: 7 of 445 events were refused",
    )
    record_try(shown_ledger, dag_id, [("delivered", "", 99, "424242.00")], environment="sandbox")
    page = visit("ada", "").text
    section = page.split('<section id="nights"')[1].split("</section>")[0]
    told = text_of(section)
    assert "Partly arrived shop_purchases" in told
    assert "Delivered 438 15,139.86 USD" in told
    assert "Not delivered 7 1,120.50 USD" in told
    assert "7 rejected , 1,120.50 USD : device_not_found" in told
    assert "Check environment and app token" in told
    assert re.search("[45] h ago", told)
    assert "s3://bucket/&lt;night&gt;.jsonl" in section
    # Sandbox and production are never added up.
    assert "424,242.00" not in page
    assert "424,242.00" in visit("ada", "?environment=sandbox").text
    assert "<option selected>production</option>" in page
    # Nothing of a night is shown to who may not read the DAG.
    assert "438" not in visit("eve", "").text
