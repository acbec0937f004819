"""Events that were sent to a stand-in never count as revenue, even with ``environment: production`` in the same ledger."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from deliveries_page.conftest import Visit
from deliveries_page.made_nights import APP, NIGHT, NOW, SCOPES, record_events, record_try, record_verdict

from airflow_provider_adjust.s2s.ledger.schema import scopes, tries

DAG = "shop_purchases"
GATEWAY = "gateway.example.com"
#: By the name that ``record_try`` has for it: where the same kind of event went, always in production.
HOSTS = {"adjust": (1, "s2s.adjust.com"), "stand-in": (3, "127.0.0.1"), "gateway": (4, GATEWAY)}


@pytest.fixture(autouse=True)
def one_kind_at_three_hosts(shown_ledger: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    kind = {"app_token": APP, "endpoint": "event", "event_key": "f0ob4r", "environment": "production"}
    with shown_ledger.begin() as connection:
        for number, host in HOSTS.values():
            connection.execute(scopes.insert().values(id=number, destination=host, **kind))
    for name, (number, _) in HOSTS.items():
        monkeypatch.setitem(SCOPES, name, number)
    record_try(shown_ledger, DAG, [("delivered", "", 10, "100.00")], environment="adjust")
    missing = [("delivered", "", 70, "7000.00"), ("rejected", "device_not_found", 5, "55.00")]
    number = record_try(shown_ledger, DAG, missing, environment="stand-in", task_id="rehearse")
    record_events(shown_ledger, number, [("order-1", 1, "")], scope_id=3)
    through = [("delivered", "", 4, "400.00")]
    record_try(shown_ledger, "shop_subscriptions", through, environment="gateway")
    with shown_ledger.begin() as connection:
        connection.execute(tries.update().values(environment="production"))
    return shown_ledger


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.airflow
def test_no_view_counts_a_rehearsal_as_production(visit: Visit) -> None:
    for path in ("/", "/runs", "/events", f"/?dag_id={DAG}&run_id={NIGHT}"):
        page = text_of(visit("root", path).text)
        assert "7,000.00" not in page, path
        assert "55.00" not in page, path
        assert "order-1" not in page, path
    days = text_of(visit("root", "/").text)
    assert "production rehearsal" in days  # to choose from
    assert "100.00 USD" in days
    page = text_of(visit("root", "/?environment=rehearsal").text)
    assert "7,000.00 USD" in page
    assert "A rehearsal: sent to 127.0.0.1, gateway.example.com, which is not Adjust" in page
    assert ">rehearsal</span>" in visit("root", "/?environment=rehearsal").text
    assert "order-1" in text_of(visit("root", "/events?environment=rehearsal").text)
    # Whoever may not read the other DAG does not learn its host.
    assert GATEWAY not in visit("ada", "/?environment=rehearsal").text


@pytest.mark.airflow
def test_a_gateway_that_the_deployment_allows_is_adjust(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "400.00 USD" not in visit("root", "/").text  # shop_subscriptions
    monkeypatch.setenv("AIRFLOW__ADJUST__ALLOWED_HOSTS", f"*.adjust.com, {GATEWAY}, 127.0.0.1, loopback")
    page = text_of(visit("root", "/").text)
    assert "500.00 USD" in page
    assert "7,000.00" not in page
    # A list that cannot be read allows no gateway, and hides nothing of Adjust's.
    monkeypatch.setenv("AIRFLOW__ADJUST__ALLOWED_HOSTS", "*.com.*")
    page = text_of(visit("root", "/").text)
    assert "100.00 USD" in page
    assert "500.00 USD" not in page


def lines_of(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file)))


@pytest.mark.airflow
def test_the_days_as_a_file_have_what_the_table_has(shown_ledger: sa.Engine, visit: Visit) -> None:
    record_try(shown_ledger, DAG, [("rejected", "device_not_found", 2, "21.50")], environment="adjust", task_id="two")
    answer = visit("ada", "/days.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="adjust_days.csv"'
    found = [(each["status"], each["reason"], each["events"], each["revenue"]) for each in lines_of(answer.text)]
    assert sorted(found) == [("delivered", "", "10", "100"), ("rejected", "device_not_found", "2", "21.5")]
    [line, _] = lines_of(answer.text)
    assert {line[name] for name in ("dag_id", "event_token", "app_token", "environment", "currency")} == {
        *(DAG, "f0ob4r", APP, "production", "USD")
    }
    rehearsed = lines_of(visit("ada", "/days.csv?environment=rehearsal").text)
    assert {each["environment"] for each in rehearsed} == {"rehearsal"}
    assert lines_of(visit("eve", "/days.csv").text) == []
    assert visit(None, "/days.csv").status_code == 401
    assert 'href="/adjust/days.csv?' in visit("ada", "/").text


@pytest.mark.airflow
def test_a_file_that_would_be_cut_off_is_refused(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_adjust.deliveries_page import queries

    monkeypatch.setattr(queries, "MAX_COUNTS", 1)
    answer = visit("ada", "/days.csv")
    assert answer.status_code == 422
    assert "choose fewer days" in answer.text


@pytest.mark.airflow
def test_one_event_is_found_on_any_day_and_in_any_environment(visit: Visit) -> None:
    form = {"first_day": "2026-01-01", "last_day": "2026-01-02", "environment": "production"}
    page = text_of(visit("ada", "/events", params={**form, "event_id": "  order-1 "}).text)
    assert "Events 1 to 1 of 1" in page
    assert "rehearsal" in page
    page = text_of(visit("ada", "/events", params={**form, "event_id": "order-77"}).text)
    assert "No event with the id order-77 was sent" in page
    assert "only in the rejected file" in page


@pytest.mark.airflow
def test_a_reason_that_returns_says_since_when(shown_ledger: sa.Engine, visit: Visit) -> None:
    """Days without events of the DAG are skipped; a day without the reason ends the row."""
    refused, well = ("rejected", "device_not_found", 1, "2.00"), ("delivered", "", 1, "2.00")
    for days_ago, counts in ((0, [refused]), (1, [refused, well]), (3, [well, refused]), (4, [well]), (5, [refused])):
        day = NOW.date() - timedelta(days=days_ago)
        record_try(shown_ledger, DAG, counts, environment="adjust", day=day, task_id=f"ago_{days_ago}")
    with shown_ledger.begin() as connection:
        connection.execute(tries.update().values(environment="production"))
    first = NOW.date() - timedelta(days=3)
    assert f"On 3 days in a row, since {first}." in text_of(visit("ada", "/").text)


@pytest.mark.airflow
def test_the_page_says_whether_anybody_has_compared(shown_ledger: sa.Engine, visit: Visit) -> None:
    said = "have not been compared with Adjust's own figures"
    assert said in text_of(visit("ada", "/").text).replace("&#39;", "'")
    assert said not in text_of(visit("ada", "/?environment=rehearsal").text).replace("&#39;", "'")
    # Of the day on which the try sent, which is not today shortly after midnight.
    record_verdict(shown_ledger, NOW - timedelta(hours=5), "equal", 10, 10, DAG)
    assert said not in text_of(visit("ada", "/").text).replace("&#39;", "'")
