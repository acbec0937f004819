"""The file of events: streamed, with the user's rights, and safe to open in a spreadsheet."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries_page.conftest import Visit
from deliveries_page.made_nights import make_scopes, record_events, record_try
from deliveries_page.test_access import EVENTS

from airflow_provider_adjust.deliveries_page import csv_file
from airflow_provider_adjust.deliveries_page.budget import PageFull
from airflow_provider_adjust.deliveries_page.csv_file import COLUMNS, pieces
from airflow_provider_adjust.deliveries_page.event_list import EventRow
from airflow_provider_adjust.deliveries_page.queries import Page
from airflow_provider_adjust.s2s.answers.reasons import reason_of

EVENT = EventRow(
    occurred_at=datetime(2026, 5, 1, 7),
    app_token="4w565xzmb54d",
    conn_id="adjust_ios",
    event_token="f0ob4r",
    event_name="purchase",
    environment="production",
    event_id="order-1",
    status="rejected",
    reason=reason_of("device_not_found"),
    http_status=404,
    revenue=Decimal("12.5000000000"),
    currency="USD",
    dag_id="shop",
    run_id="run",
    task_id="send",
    map_index=-1,
    try_number=1,
)


def written(*pages: Page[EventRow], busy: int = 0) -> list[dict[str, str]]:
    """The rows of the file; the page is busy so often before each further piece."""
    refusals = iter([True] * busy)

    async def following(after: str) -> Page[EventRow]:
        if next(refusals, False):
            raise PageFull("busy")
        return pages[int(after)]

    async def read() -> str:
        return "".join([piece async for piece in pieces(pages[0], following)])

    return list(csv.DictReader(io.StringIO(asyncio.run(read()))))


def with_id(event_id: str) -> EventRow:
    return EventRow(**{name: getattr(EVENT, name) for name in EVENT.__dataclass_fields__} | {"event_id": event_id})


def test_each_column_is_filled_and_no_text_is_a_formula() -> None:
    [row] = written(Page([EVENT], None))
    assert [*row] == [*COLUMNS]
    assert row["occurred_at"] == "2026-05-01T07:00:00Z"
    assert (row["event_name"], row["connection"], row["revenue"], row["map_index"]) == (
        "purchase",
        "adjust_ios",
        "12.5",
        "-1",
    )
    assert row["meaning"] == "Adjust knows no install of this device in this app and environment."
    ids = ["=1+1", "+1+1", "-1+1", "@A1", "\t=1", "\r=1", "-12.5", "order=1", "'=1"]
    found = [row["event_id"] for row in written(Page([with_id(each) for each in ids], None))]
    assert found == ["'=1+1", "'+1+1", "'-1+1", "'@A1", "'\t=1", "'\r=1", "-12.5", "order=1", "'=1"]


def test_piece_follows_piece_also_where_the_page_was_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "RETRY_AFTER_S", 0)
    pages = (Page([with_id("a")], "1"), Page([with_id("b")], "2"), Page([with_id("c")], None))
    assert [row["event_id"] for row in written(*pages, busy=3)] == ["a", "b", "c"]
    with pytest.raises(PageFull):
        written(*pages, busy=99)


@pytest.mark.airflow
@pytest.mark.parametrize("who", ["ada", "bob", "eve", "root", "lea"])
def test_each_user_downloads_the_events_that_they_may_see(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr("airflow_provider_adjust.deliveries_page.app.PIECE", 300)
    response = visit(who, "/events.csv")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="adjust_events.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len({row["event_id"] for row in rows}) == len(rows) == EVENTS[who]
    assert [row["occurred_at"] for row in rows] == sorted((row["occurred_at"] for row in rows), reverse=True)
    assert visit(None, "/events.csv").status_code == 401
    assert visit(who, "/events.csv?first_day=yesterday").status_code == 422


@pytest.mark.airflow
def test_an_event_is_found_by_its_id_with_what_its_reason_means(shown_ledger: sa.Engine, visit: Visit) -> None:
    make_scopes(shown_ledger, event_name="purchase", conn_id="adjust_ios")
    number = record_try(shown_ledger, "shop_purchases", [("rejected", "device_not_found", 60, "750.00")])
    rows: list[Any] = [(f"order-{place}", 3, "device_not_found") for place in range(60)]
    record_events(shown_ledger, number, rows)
    listed = visit("ada", "/events?status=rejected").text
    assert "Events 1 to 50 of 60" in " ".join(listed.split())
    assert "purchase (f0ob4r)" in listed
    assert "adjust_ios (4w565xzmb54d)" in listed
    assert listed.count("Adjust knows no install of this device in this app and environment.") == 1
    found = visit("ada", "/events?event_id=order-7").text
    assert "Events 1 to 1 of 1" in " ".join(found.split())
    assert ">order-7<" in found
    assert "shop_purchases" not in visit("bob", "/events?event_id=order-7").text
    assert "No event with the id order-77 was sent" in visit("ada", "/events?event_id=order-77").text
