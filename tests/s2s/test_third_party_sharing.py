"""Third-party sharing as an endpoint: a device's last choice counts, and one that Adjust knows is not sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa
from fake_transport import LOST, OK, Answer, FakeTransport
from ledger_rows import end_leases
from s2s_case import APP, GPS_ADID, NOW

from airflow_provider_adjust.s2s import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    EventParser,
    InvalidEvent,
    Ledger,
    Receipt,
    Retries,
    Route,
    RowOptions,
    Sender,
    SendOptions,
    TaskInstanceId,
    parse_event,
)
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.events.keys import DigestKey
from airflow_provider_adjust.s2s.ledger.erase import erase
from airflow_provider_adjust.s2s.ledger.schema import deliveries, suppressions, totals
from airflow_provider_adjust.s2s.transports import Target

OPTIONS = RowOptions(endpoint="third_party_sharing", app_token=APP, environment="sandbox")
OTHER = "7d0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8"
KEY = b"the key of the digests"


def choice(sharing: str, gps_adid: str = GPS_ADID, **more: Any) -> dict[str, Any]:
    return {"gps_adid": gps_adid, "sharing": sharing, **more}


def test_what_is_sent_is_the_device_the_app_and_the_choice() -> None:
    event = parse_event(choice("disable"), OPTIONS, now=NOW, digest_keys=KEY)
    assert event.params == {"s2s": "1", "app_token": APP, "gps_adid": GPS_ADID, "sharing": "disable"}
    assert GPS_ADID not in event.event_id
    # The event's id is the device's, whatever it chooses and whichever ids it has beside the first.
    ids = {
        parse_event(row, OPTIONS, now=NOW, digest_keys=KEY).event_id
        for row in (choice("enable"), choice("disable", oaid=OTHER))
    }
    assert ids == {event.event_id}
    assert parse_event(choice("disable", OTHER), OPTIONS, now=NOW, digest_keys=KEY).event_id != event.event_id


def test_what_is_refused() -> None:
    for row, reason in (
        (choice("perhaps"), "invalid_sharing"),
        ({"gps_adid": GPS_ADID}, "missing_sharing"),
        ({"sharing": "enable"}, "missing_device_id"),
        (choice("enable", event_token="f0ob4r"), "unknown_parameter"),
        (choice("enable", partner_sharing_settings="{}"), "unknown_parameter"),
    ):
        with pytest.raises(InvalidEvent) as caught:
            parse_event(row, OPTIONS, now=NOW)
        assert caught.value.reason == reason
    with pytest.raises(AdjustConfigurationError, match="id_field cannot be given"):
        EventParser(RowOptions(endpoint="third_party_sharing", id_field="user"))


@pytest.mark.parametrize("name", ["partner_sharing_settings", "granular_third_party_sharing_options"])
def test_granular_settings_are_refused_in_one_sentence(name: str) -> None:
    sentence = "Granular sharing is not built"
    with pytest.raises(InvalidEvent, match=sentence):
        parse_event(choice("enable") | {name: "{}"}, OPTIONS, now=NOW)
    with pytest.raises(AdjustConfigurationError, match=sentence):
        check_columns(["gps_adid", "sharing", name], "the sql", OPTIONS)
    with pytest.raises(AdjustConfigurationError, match=sentence):
        EventParser(RowOptions(endpoint="third_party_sharing", extra_params=(name,)))


class Runs:
    """Deliveries that share a ledger. ``said`` is what Adjust was told, in order."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.said: list[tuple[str, str]] = []
        self._made = 0

    def __call__(
        self,
        rows: Sequence[dict[str, Any]],
        *,
        transport: FakeTransport | None = None,
        as_stream: bool = False,
        keys: Sequence[bytes] = (KEY,),
        kill: bool = False,
        name: str | None = None,
    ) -> list[tuple[str, str]]:
        self._made += 1
        transport = transport or FakeTransport()
        ledger = Ledger(self.engine, TaskInstanceId("dag", name or f"run {self._made}", "send", try_number=self._made))
        target = Target("https://s2s.adjust.com/third_party_sharing")
        route = Route(EventParser(OPTIONS, digest_keys=keys), target, None, 1.0)
        options = SendOptions(retries=Retries(attempts=1))
        sender = Sender({None: route}, transport, options, ledger=ledger, now=lambda: NOW)
        receipts: list[Receipt] = []
        try:
            receipts.extend(sender.send(iter(rows) if as_stream else rows))
        finally:
            sender.save()
            if not kill:
                ledger.end()
            ledger.close()
            if kill:
                end_leases(self.engine)
            sent = [parse_qs(body) for body in transport.bodies]
            self.said = [(each["gps_adid"][0], each["sharing"][0]) for each in sent]
        return [(each.outcome.value, each.reason) for each in sorted(receipts, key=lambda each: each.position)]


@pytest.fixture
def run(ledger_engine: sa.Engine) -> Runs:
    return Runs(ledger_engine)


DELIVERED = ("delivered", "")
KNOWN = ("skipped", "delivered_before")


def test_the_last_choice_of_a_device_counts_and_one_that_is_known_is_skipped(run: Runs) -> None:
    rows = [choice("disable"), choice("disable", OTHER), choice("enable"), choice("enable"), choice("disable")]
    for as_stream in (False, True):
        expected = [DELIVERED, DELIVERED, DELIVERED, KNOWN, DELIVERED]
        if as_stream:  # the second time, Adjust already has the first two
            expected = [KNOWN, KNOWN, *expected[2:]]
        assert run(rows, as_stream=as_stream) == expected
        mine = [sharing for device, sharing in run.said if device == GPS_ADID]
        assert mine == (["disable", "enable", "disable"] if not as_stream else ["enable", "disable"])
    assert run([choice("disable")]) == [KNOWN]
    assert run.said == []
    # Back and forth over several runs: what was told last counts, not what was ever told.
    assert run([choice("enable")]) == [DELIVERED]
    assert run([choice("disable")]) == [DELIVERED]
    with run.engine.connect() as connection:
        kept = connection.execute(sa.select(deliveries)).all()
    assert {(each.endpoint, each.environment, each.status) for each in kept} == {
        ("third_party_sharing", "", "delivered")
    }
    assert len(kept) == 2
    assert GPS_ADID not in str(kept)


@pytest.mark.parametrize("kind", [list, iter])
def test_a_clock_that_is_set_back_does_not_change_which_choice_is_the_last(kind: Any) -> None:
    moments = (NOW - timedelta(seconds=number) for number in count())
    transport = FakeTransport()
    route = Route(
        EventParser(OPTIONS, digest_keys=KEY), Target("https://s2s.adjust.com/third_party_sharing"), None, 1.0
    )
    sender = Sender({None: route}, transport, now=lambda: next(moments))
    receipts = list(sender.send(kind([choice("enable"), choice("enable", OTHER), choice("disable")])))
    assert [each.outcome for each in receipts] == ["delivered"] * 3
    sent = [parse_qs(body) for body in transport.bodies]
    assert [each["sharing"][0] for each in sent if each["gps_adid"] == [GPS_ADID]] == ["enable", "disable"]


def test_what_may_not_have_arrived_is_sent_again(run: Runs) -> None:
    with pytest.raises(AdjustUnreachable):
        run([choice("disable")], transport=FakeTransport(otherwise=LOST))
    assert run([choice("disable")]) == [DELIVERED]
    refused = Answer(404, '{"error": "Third party sharing failed (Device not found)"}')
    assert run([choice("enable")], transport=FakeTransport(otherwise=refused)) == [("rejected", "device_not_found")]
    assert run([choice("enable")]) == [DELIVERED]
    # Under a key that is gone, nobody can tell; so it is said again. With both keys it is known.
    assert run([choice("enable")], keys=(b"a newer key", KEY)) == [KNOWN]


def test_what_adjust_knows_of_a_device_under_another_id_counts_too(run: Runs) -> None:
    """A column that is NULL on some nights gives a device another name, and its last choice must not be skipped."""
    both = {"adid": "a1"}
    for row, end in (
        (choice("disable", **both), DELIVERED),
        (choice("enable"), DELIVERED),
        (choice("disable", **both), DELIVERED),  # not what Adjust was told last, though its own record says so
        (choice("disable", **both), KNOWN),
        (choice("enable"), DELIVERED),
        (choice("enable", **both), DELIVERED),
        (choice("disable"), DELIVERED),
        (choice("disable"), KNOWN),
        (choice("disable", OTHER, **both), DELIVERED),
        (choice("disable"), KNOWN),
    ):
        assert run([row]) == [end]
    rows = [choice("enable", **both), choice("disable"), choice("enable", **both)]
    assert run(rows) == [DELIVERED] * 3
    assert [sharing for _, sharing in run.said] == ["enable", "disable", "enable"]
    # Under an older key, too; and what was erased from the ledger stays erased.
    assert run([choice("disable")]) == [DELIVERED]
    keys = (b"a newer key", KEY)
    assert run([choice("enable", **both)], keys=keys) == [DELIVERED]
    assert run([choice("disable")], keys=keys) == [DELIVERED]
    erase(run.engine, [parse_event(choice("disable"), OPTIONS, now=NOW, digest_keys=keys).event_id])
    assert run([choice("enable", **both)], keys=keys) == [KNOWN]
    assert run([choice("disable")], keys=keys) == [("skipped", "erased")]


def test_the_result_of_a_retry_covers_its_earlier_tries(run: Runs) -> None:
    """As at the other endpoints: what an earlier try of the task told is delivered, and counted once."""
    rows = [choice("disable"), choice("enable", OTHER)]
    with pytest.raises(AdjustUnreachable):
        run(rows, transport=FakeTransport({1: [OK]}, otherwise=Answer(500)), name="night")
    assert run([*rows, choice("enable", OTHER)], name="night") == [DELIVERED, DELIVERED, KNOWN]
    assert run.said == [(OTHER, "enable")]
    with run.engine.connect() as connection:
        counted = connection.execute(sa.select(totals.c.outcome, totals.c.events).order_by(totals.c.outcome)).all()
    assert sum(events for outcome, events in counted if outcome == "delivered") == 2
    assert run(rows) == [KNOWN, KNOWN]


def test_what_another_task_is_sending_is_held(run: Runs) -> None:
    ledger = Ledger(run.engine, TaskInstanceId("dag", "other", "send"))
    ledger.attach({None: "s2s.adjust.com"})
    job = Job(parse_event(choice("disable"), OPTIONS, now=NOW, digest_keys=KEY), 1)
    assert isinstance(ledger.begin_claim([job]).result()[0], Claim)
    assert run([choice("enable")]) == [("held", "sent_elsewhere")]
    ledger.end()
    ledger.close()
    assert run([choice("enable")]) == [DELIVERED]


def test_an_erased_choice_is_not_sent_again(run: Runs) -> None:
    run([choice("disable")])
    erase(run.engine, [parse_event(choice("disable"), OPTIONS, now=NOW, digest_keys=KEY).event_id])
    assert run([choice("enable")]) == [("skipped", "erased")]


def test_an_app_that_adjust_does_not_know_stops_everything(run: Runs) -> None:
    answer = Answer(400, '{"error":"Third party sharing failed (App not found)"}')
    with pytest.raises(DeliveryHalted, match="app_token_not_found"):
        run([choice("disable"), choice("disable", OTHER)], transport=FakeTransport(otherwise=answer))
    assert len(run.said) == 1


def test_a_device_that_opted_out_or_was_erased_is_refused_here_as_well(run: Runs) -> None:
    gone = Answer(451, '{"error": "Third party sharing failed (Device is opted out)"}')
    assert run([choice("disable")], transport=FakeTransport({1: [gone]}, otherwise=OK)) == [
        ("rejected", "device_opted_out")
    ]
    with run.engine.connect() as connection:
        [kept] = connection.execute(sa.select(suppressions)).all()
    assert (kept.environment, kept.device) == ("", DigestKey.of(KEY).device("gps_adid", GPS_ADID))
    assert run([choice("enable")]) == [("rejected", "device_opted_out")]
    assert run.said == []
