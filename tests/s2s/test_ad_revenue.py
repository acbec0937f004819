"""Ad revenue as an endpoint: what is sent, what is refused, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fake_transport import FakeTransport, by_outcome
from s2s_case import APP, NOW

from airflow_provider_adjust.s2s import (
    AdjustConfigurationError,
    EventParser,
    InvalidEvent,
    Ledger,
    Outcome,
    Route,
    RowOptions,
    Sender,
    SendOptions,
    StreamOutOfOrder,
    TaskInstanceId,
    parse_event,
)
from airflow_provider_adjust.s2s.endpoints.endpoint import AD_REVENUE, EVENT
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.transports import Target

OPTIONS = RowOptions(endpoint="ad_revenue", app_token=APP, environment="sandbox", id_field="impression_id")


def _row(**changes: Any) -> dict[str, Any]:
    row = {
        "impression_id": "i-1",
        "gps_adid": "30e31dc5-92c4-4fb5-9d25-d4a5a4e3e4c5",
        "created_at": NOW - timedelta(hours=1),
        "revenue": Decimal("0.0000042"),
        "currency": "USD",
        "ad_impressions_count": 1,
        "ad_revenue_network": "applovin",
        **changes,
    }
    return {name: value for name, value in row.items() if value is not None}


def test_what_is_sent() -> None:
    event = parse_event(
        _row(ad_revenue_unit="banner", ad_revenue_placement="menu", os_name="android"), OPTIONS, now=NOW
    )
    assert event.params == {
        "s2s": "1",
        "source": "publisher",
        "app_token": APP,
        "environment": "sandbox",
        "gps_adid": "30e31dc5-92c4-4fb5-9d25-d4a5a4e3e4c5",
        "created_at_unix": str(int((NOW - timedelta(hours=1)).timestamp())),
        "revenue": "0.0000042",
        "currency": "USD",
        "ad_impressions_count": "1",
        "ad_revenue_network": "applovin",
        "ad_revenue_unit": "banner",
        "ad_revenue_placement": "menu",
        "os_name": "android",
        "callback_params": '{"event_id":"i-1"}',
    }
    assert event.lanes == ()
    assert event.identity == (APP, "ad_revenue", "publisher", "sandbox", "i-1")


def test_an_amount_however_small_is_sent_digit_by_digit() -> None:
    for given, sent in (
        ("1E-9", "0.000000001"),
        (1e-9, "0.000000001"),
        (Decimal("1.20E-7"), "0.000000120"),
        ("0.00000000000000000000000001", "0.00000000000000000000000001"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0, "0"),
        # Of zero, a sign says nothing, and Adjust takes no amount with one.
        ("-0", "0"),
        (-0.0, "0.0"),
        (Decimal("-0.00"), "0.00"),
        ("  0.0005 ", "0.0005"),
    ):
        for name in AD_REVENUE.amounts:
            event = parse_event(_row(revenue=None) | {name: given}, OPTIONS, now=NOW)
            assert event.params[name] == sent
            assert event.revenue == Decimal(sent)


def test_what_is_refused() -> None:
    for changes, reason, says in (
        ({"revenue": None}, "missing_revenue", "the row has no revenue and no amount"),
        ({"amount": "1"}, "conflicting_revenue", "give revenue or amount, never both"),
        ({"currency": None}, "missing_currency", "revenue needs currency"),
        ({"revenue": None, "amount": 1, "currency": None}, "missing_currency", "amount needs currency"),
        ({"revenue": "-0.1"}, "invalid_revenue", "below 0: leave the row out of the query"),
        ({"revenue": Decimal("NaN")}, "invalid_revenue", "leave the row out of the query where there is no amount"),
        ({"revenue": "NaN"}, "invalid_revenue", "plain digits"),
        ({"ad_impressions_count": None}, "missing_ad_impressions_count", "1 AS ad_impressions_count"),
        ({"ad_impressions_count": "1.5"}, "invalid_ad_impressions_count", "whole number"),
        ({"ad_impressions_count": "-1"}, "invalid_ad_impressions_count", "whole number"),
        (
            {"source": "applovin"},
            "invalid_source",
            "is always publisher; leave it out, or name the column in ignore_columns",
        ),
        ({"gps_adid": None}, "missing_device_id", "no usable device id"),
        ({"created_at": None}, "missing_created_at", "would record the time of receipt"),
        ({"created_at": NOW - timedelta(days=28, seconds=1)}, "expired", "the ad revenue is 28 days old"),
        ({"created_at": NOW + timedelta(minutes=6)}, "created_at_in_future", "ahead of now"),
        ({"att_status": "3", "tracking_enabled": 1}, "conflicting_att_status", "never both"),
        ({"event_token": "f0ob4r"}, "unknown_parameter", "'event_token'"),
        ({"callback_params": "[1]"}, "invalid_callback_params", "flat object"),
    ):
        with pytest.raises(InvalidEvent, match=says) as caught:
            parse_event(_row(**changes), OPTIONS, now=NOW)
        assert caught.value.reason == reason
    assert parse_event(_row(source="publisher", created_at=NOW - timedelta(days=28)), OPTIONS, now=NOW).revenue


def test_options_of_another_endpoint_are_refused() -> None:
    for options, says in (
        (
            RowOptions(endpoint="ad_revenue", event_token="f0ob4r"),
            "event_token cannot be given with endpoint='ad_revenue'",
        ),
        (RowOptions(endpoint="ad_revenue", event_tokens={"buy": "f0ob4r"}), "event_tokens cannot be given"),
        (RowOptions(endpoint="ad-revenue"), "endpoint='ad-revenue' must be one of event, ad_revenue"),
    ):
        with pytest.raises(AdjustConfigurationError, match=says):
            EventParser(options)


def test_columns_are_checked_by_the_endpoint_that_the_options_name() -> None:
    names = tuple(_row())
    check_columns(names, "the sql", OPTIONS)
    for missing, says in (
        ("revenue", "missing: revenue or amount"),
        ("currency", "missing: currency, which revenue needs"),
        ("ad_impressions_count", "missing: ad_impressions_count; select it"),
        ("gps_adid", "missing: a device id"),
    ):
        with pytest.raises(AdjustConfigurationError, match=says):
            check_columns([name for name in names if name != missing], "the sql", OPTIONS)
    with pytest.raises(AdjustConfigurationError, match="unknown columns: 'ad_impressions_count'"):
        check_columns(names, "the sql", RowOptions(event_token="f0ob4r", id_field="impression_id"))


def test_max_revenue_holds_for_whichever_name_the_amount_has() -> None:
    for name in AD_REVENUE.amounts:
        parser = EventParser(RowOptions(endpoint="ad_revenue", app_token=APP, environment="sandbox", max_revenue=5))
        row = {key: value for key, value in _row(revenue=None).items() if key != "impression_id"}
        assert parser.parse({**row, name: "5"}, now=NOW)
        with pytest.raises(InvalidEvent, match=f"{name} is 5.1 USD, above max_revenue"):
            parser.parse({**row, name: "5.1"}, now=NOW)


def _sender(transport: FakeTransport, options: SendOptions | None = None, **memory: Any) -> Sender:
    route = Route(EventParser(OPTIONS), Target("https://s2s.adjust.test/ad_revenue"))
    return Sender({None: route}, transport, options or SendOptions(max_in_flight=8), now=lambda: NOW, **memory)


def test_one_device_has_no_order_and_is_sent_in_parallel() -> None:
    transport = FakeTransport()
    rows = [_row(impression_id=str(number)) for number in range(40)]
    assert len(by_outcome(_sender(transport).send(rows))["delivered"]) == 40
    assert transport.most_in_flight == 8


def test_a_repeated_id_is_found_anywhere_in_a_stream(tmp_path: Path) -> None:
    """It needs no order, so that a join may have put the two rows anywhere."""
    rows = [_row(impression_id=each, created_at=NOW - timedelta(hours=h)) for each, h in (("a", 3), ("b", 2), ("a", 3))]
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    for ledger in (None, Ledger(engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW)):
        receipts = list(_sender(transport := FakeTransport(), ledger=ledger).send(iter(rows)))
        assert len(transport.sent) == 2
        [refused] = [each for each in receipts if each.outcome is Outcome.INVALID]
        assert (refused.reason, refused.position) == ("repeated_event_id", 3)
        assert "row 1 has the same event id" in refused.detail
        if ledger:
            ledger.end()
            ledger.close()
    engine.dispose()


def test_a_stream_without_ids_says_why_it_needs_an_order() -> None:
    options = replace(OPTIONS, id_field=None, ignore_columns=["impression_id"])
    route = Route(EventParser(options), Target("https://s2s.adjust.test/ad_revenue"))
    rows = [_row(), _row(created_at=NOW - timedelta(hours=2))]
    with pytest.raises(StreamOutOfOrder, match=r"equal rows without an id are numbered .* or name id_field"):
        list(Sender({None: route}, FakeTransport(), now=lambda: NOW).send(iter(rows)))


def test_verify_is_refused_with_the_reason() -> None:
    with pytest.raises(
        AdjustConfigurationError, match="Device API knows events only, and no ad revenue; choose resend or hold"
    ):
        list(_sender(FakeTransport(), SendOptions(on_in_doubt="verify")).send([_row()]))


def test_the_ledger_keeps_it_apart_from_events_and_shows_no_event_token(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    for run, sent in (("one", 1), ("two", 0)):
        ledger = Ledger(engine, TaskInstanceId("dag", run, "send"), now=lambda: NOW)
        sender = _sender(transport := FakeTransport(), ledger=ledger)
        list(sender.send([_row()]))
        sender.save()
        ledger.end()
        ledger.close()
        assert len(transport.sent) == sent
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT endpoint, event_key FROM adjust_scope")).all() == [
            ("ad_revenue", "publisher")
        ]
        [(endpoint, token, revenue)] = connection.execute(
            sa.text("SELECT endpoint, event_token, revenue FROM adjust_delivery")
        ).all()
        assert (endpoint, token) == ("ad_revenue", "")
        assert Decimal(str(revenue)) == Decimal("0.0000042")
    engine.dispose()


def test_what_it_takes_over_from_events_is_the_same() -> None:
    shared = AD_REVENUE.parameters.keys() & EVENT.parameters.keys()
    assert AD_REVENUE.device_ids == EVENT.device_ids
    assert {name for name in shared if AD_REVENUE.parameters[name].kind != EVENT.parameters[name].kind} == set()
    assert AD_REVENUE.parameters.keys() - EVENT.parameters.keys() == {
        "source",
        "amount",
        "ad_impressions_count",
        "ad_revenue_network",
        "ad_revenue_unit",
        "ad_revenue_placement",
    }
