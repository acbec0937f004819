"""The first view: the result of each DAG's last night."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, timedelta

import pytest
import sqlalchemy as sa
from deliveries_page.conftest import Visit
from deliveries_page.made_nights import BEFORE, NIGHT, NOW, SCOPES, make_scopes, record_try, record_verdict

from airflow_provider_adjust.deliveries_page import configuration
from airflow_provider_adjust.deliveries_page.nights import Night, last_nights
from airflow_provider_adjust.deliveries_page.resend import name_below_folder
from airflow_provider_adjust.deliveries_page.schedule import AirflowRun, Schedule, schedules
from airflow_provider_adjust.files import folder
from airflow_provider_adjust.s2s.ledger.schema import events, reasons, tries
from airflow_provider_adjust.s2s.ledger.schema import verdicts as verdict_table


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
    assert "Check the environment and the app token" in told
    assert re.search("[45] h ago", told)
    assert "s3://bucket/&lt;night&gt;.jsonl" in section
    # Sandbox and production are never added up.
    assert "424,242.00" not in page
    assert "424,242.00" in visit("ada", "?environment=sandbox").text
    assert "<option selected>production</option>" in page
    # Nothing of a night is shown to who may not read the DAG.
    assert "438" not in visit("eve", "").text


def test_a_run_that_failed_before_its_environment_was_known_is_the_last_night_of_each(shown_ledger: sa.Engine) -> None:
    for environment in SCOPES:
        record_try(
            shown_ledger,
            "shop",
            [("delivered", "", 9, "9.00")],
            run_id=BEFORE if environment == "production" else "scheduled__older",
            hours_ago=29 if environment == "production" else 50,
            environment=environment,
        )
    record_try(shown_ledger, "shop", state="failed", environment="", error="OperationalError")
    assert verdicts(shown_ledger, "shop") == [("shop", "production", "failed"), ("shop", "sandbox", "failed")]
    # The two environments have their own last nights.
    record_try(shown_ledger, "shop", [("delivered", "", 9, "9.00")], run_id="scheduled__newer", hours_ago=1)
    assert verdicts(shown_ledger, "shop") == [("shop", "sandbox", "failed"), ("shop", "production", "arrived")]


def test_a_run_to_two_environments_is_a_night_of_each(shown_ledger: sa.Engine) -> None:
    record_try(shown_ledger, "both", state="failed", environment="production,sandbox", error="DeliveryHalted: 401")
    assert verdicts(shown_ledger, "both") == [("both", "production", "failed"), ("both", "sandbox", "failed")]


def test_a_ledger_without_environments_of_tries_takes_them_from_the_events(shown_ledger: sa.Engine) -> None:
    number = record_try(shown_ledger, "old", [("delivered", "", 9, "9.00")])
    with shown_ledger.begin() as connection:
        connection.execute(tries.update().where(tries.c.id == number).values(environment=""))
    assert verdicts(shown_ledger, "old") == [("old", "production", "arrived")]


def test_an_airflow_run_that_never_began_to_send_is_reported(shown_ledger: sa.Engine) -> None:
    record_try(shown_ledger, "shop", [("delivered", "", 9, "9.00")], run_id=BEFORE, hours_ago=29)
    next_run = NOW + timedelta(hours=19)

    def shown(state: str, run_id: str = NIGHT, hours_ago: float = 5) -> Night:
        last = AirflowRun(run_id, state, NOW - timedelta(hours=hours_ago))
        with shown_ledger.connect() as connection:
            [night] = last_nights(connection, ["shop"], NOW, schedules={"shop": Schedule(next_run, False, last)})
        assert night.next_run == next_run
        return night

    assert [shown(state).verdict for state in ("failed", "success", "queued")] == ["failed", "nothing", "running"]
    assert shown("failed").later is not None
    assert (shown("failed", BEFORE).later, shown("failed", hours_ago=40).later) == (None, None)
    with shown_ledger.connect() as connection:
        [night] = last_nights(connection, ["shop"], NOW, schedules={"shop": Schedule(None, True, None)})
        [run] = last_nights(connection, ["shop"], NOW, run_id=BEFORE)
    assert (night.verdict, night.is_paused, run.run_id) == ("arrived", True, BEFORE)


@pytest.fixture
def airflow_run(airflow_knows_the_dags: None) -> Iterator[None]:
    """Airflow's scheduled run of this night, which failed before its task began; and when the DAG runs next."""
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    of_it = DagModel.dag_id == "shop_purchases"
    moment = NOW.replace(tzinfo=UTC)
    with create_session() as session:
        run = {"run_type": "scheduled", "state": "failed", "run_after": moment - timedelta(hours=4)}
        session.add(DagRun(dag_id="shop_purchases", run_id=NIGHT, **run))
        session.execute(
            sa.update(DagModel)
            .where(of_it)
            .values(next_dagrun_create_after=moment + timedelta(hours=19), is_paused=False)
        )
    yield
    with create_session() as session:
        session.execute(sa.delete(DagRun).where(DagRun.run_id == NIGHT))
        session.execute(sa.update(DagModel).where(of_it).values(next_dagrun_create_after=None))


@pytest.mark.airflow
def test_the_page_knows_from_airflow_what_the_ledger_does_not(
    shown_ledger: sa.Engine, visit: Visit, airflow_run: None
) -> None:
    record_try(shown_ledger, "shop_purchases", [("delivered", "", 9, "9.00")], run_id=BEFORE, hours_ago=29)
    told = text_of(visit("ada", "").text)
    assert "Failed shop_purchases" in told
    assert f"The run {NIGHT} of" in told
    assert "failed in Airflow, and no task of it has begun to send" in told
    assert re.search(r"Next run \d+ \w+ [\d:]+ UTC, in 1[89] h", told)
    assert schedules([]) == {}


@pytest.mark.airflow
def test_a_rejected_file_below_the_folder_leads_to_the_dag_that_resends(
    shown_ledger: sa.Engine, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", "/srv/adjust")
    monkeypatch.setenv("AIRFLOW__ADJUST__RESEND_DAG_ID", "shop_subscriptions")
    counts = [("rejected", "device_not_found", 7, "120.00")]
    record_try(shown_ledger, "shop_purchases", counts, rejected_path="/srv/adjust/rejected/night.jsonl")
    told = visit("root", "").text
    assert '<code class="path">rejected/night.jsonl</code>' in told
    assert 'data-airflow href="/dags/shop_subscriptions"' in told
    # Ada may not read that DAG; nor does Airflow have this one.
    assert "Resend" not in visit("ada", "").text
    monkeypatch.setenv("AIRFLOW__ADJUST__RESEND_DAG_ID", "unheard_of")
    assert "Resend" not in visit("root", "").text
    monkeypatch.setenv("AIRFLOW__ADJUST__RESEND_DAG_ID", "shop_subscriptions")
    for another in ("/srv/another", "no/root"):
        monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", another)
        told = visit("root", "").text
        assert "/srv/adjust/rejected/night.jsonl" in told
        assert "Resend" not in told


def test_the_page_reads_the_folder_of_files_as_tasks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for written in ("", "/srv/adjust/", "s3://aws@bucket/adjust"):
        monkeypatch.setenv("AIRFLOW__ADJUST__FILES_FOLDER", written)
        assert configuration.files_folder() == folder.files_folder()
        assert name_below_folder(f"{folder.files_folder()}/rejected/a.jsonl") == "rejected/a.jsonl"
    assert name_below_folder("/elsewhere/a.jsonl") is None


@pytest.mark.airflow
def test_a_day_shows_what_adjust_showed_of_it(shown_ledger: sa.Engine, visit: Visit) -> None:
    record_try(shown_ledger, "shop_purchases", [("delivered", "", 4, "9.00")])
    record_try(shown_ledger, "shop_subscriptions", [("delivered", "", 3, "9.00")])
    day = NOW - timedelta(hours=5)
    assert "Compared with Adjust" not in visit("root", "").text
    cases = {
        "equal": "Adjust shows what we sent",
        "not_booked": "Adjust's gap: sent, and not shown by Adjust sent 4, Adjust shows 2; report of",
        "seen_twice": "seen twice",
    }
    for verdict, words in cases.items():
        with shown_ledger.begin() as connection:
            connection.execute(verdict_table.delete())
        record_verdict(shown_ledger, day, verdict, 4, 2, "shop_subscriptions")
        assert words in html.unescape(text_of(visit("root", "").text))
    # A comparison is of the DAG that made it: Ada may not read that one.
    assert "Compared with Adjust" not in visit("ada", "").text


@pytest.mark.airflow
def test_no_gap_of_a_comparison_is_hidden(shown_ledger: sa.Engine, visit: Visit) -> None:
    """Neither by another currency's verdict, nor since nothing of the kind was sent on the day."""
    record_try(shown_ledger, "shop_purchases", [("delivered", "", 4, "9.00")], hours_ago=80)
    record_try(shown_ledger, "shop_purchases", [("delivered", "", 4, "9.00")])
    sent, unsent = NOW - timedelta(hours=5), NOW - timedelta(hours=50)
    for day, verdict, currency in (
        (sent, "equal", "CHF"),
        (sent, "not_booked", "EUR"),
        (sent, "equal", "USD"),
        (unsent, "not_sent", ""),
        (unsent - timedelta(days=1), "equal", ""),
    ):
        record_verdict(shown_ledger, day, verdict, 4, 2, "shop_subscriptions", currency=currency)
    told = html.unescape(text_of(visit("root", "").text))
    assert "Adjust's gap: sent, and not shown by Adjust, EUR" in told
    assert told.count("Adjust shows what we sent") <= 1
    assert re.search(f"{unsent:%Y-%m-%d} No deliveries .*Our gap: the warehouse has more than we sent", told)
    # Nobody knows which DAG should have sent it.
    assert "Our gap" not in visit("root", "/?dag_id=shop_purchases").text
    assert "Our gap" not in visit("root", "/?environment=sandbox").text


@pytest.mark.airflow
def test_what_another_run_has_sent_since_is_missing_no_more(shown_ledger: sa.Engine, visit: Visit) -> None:
    """Such a total has no events any more."""
    counts = [("delivered", "", 4, "9.00"), ("rejected", "device_not_found", 0, "0.00")]
    record_try(shown_ledger, "shop_purchases", counts)
    assert verdicts(shown_ledger, "shop_purchases") == [("shop_purchases", "production", "arrived")]
    assert "device_not_found" not in visit("root", "").text
    assert "shop_purchases" in text_of(visit("root", "/runs").text).partition("Took")[2]
    assert "No DAG has runs" in text_of(visit("root", "/runs?status=rejected").text)
