"""Rows that are older than what was sent of their devices: told before they are sent, over real HTTP and real databases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from effort import examples
from fake_transport import FakeTransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import end_leases
from s2s_case import APP, NOW, SECOND, row

from airflow_provider_adjust.adjust_api.device import DeviceApi
from airflow_provider_adjust.reconcile.ledger_totals import ledger_totals
from airflow_provider_adjust.reconcile.totals import Days, EventTotals
from airflow_provider_adjust.s2s import LookupPolicy, Retries, Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import outcome_rows
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.route import Lookup
from airflow_provider_adjust.s2s.endpoints.endpoint import AD_REVENUE, EVENT, Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustUnreachable
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.prune import prune
from airflow_provider_adjust.s2s.ledger.schema import drop_all, events, lanes, totals
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.transports import Target
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport
from airflow_provider_adjust.sandbox import SandboxServer

DAY = timedelta(days=1)
SECRET = b"the connection's secret"


class Night:
    """Sends rows as a task does: its own try in the ledger, real connections to the sandbox."""

    def __init__(self, engine: sa.Engine, url: str) -> None:
        self.engine, self.url = engine, url
        self.summary = DeliverySummary()

    def send(
        self,
        rows: Sequence[dict[str, Any]],
        run: str,
        *,
        keys: Any = SECRET,
        reading: dict[str, Any] | None = None,
        try_number: int = 1,
        is_killed_after: int | None = None,
        endpoint: Endpoint = EVENT,
        lookup: Lookup | None = None,
        **options: Any,
    ) -> list[Receipt]:
        sending = SendOptions(
            max_in_flight=4,
            retries=Retries(attempts=2, jitter=lambda: 0.0),
            lookups=LookupPolicy(wait=0.2, every=0.05),
            **{"remember_lanes": True} | options,
        )
        parser = EventParser(RowOptions(id_field="order_id", **reading or {}), digest_keys=keys, endpoint=endpoint)
        task = TaskInstanceId("dag", run, "send", -1, try_number)
        ledger = Ledger(self.engine, task, on_in_doubt=sending.on_in_doubt, batch_size=4)
        transport = RequestsTransport(max_in_flight=4, timeout=(5.0, 5.0))
        try:
            routes = {None: Route(parser, Target(f"{self.url}{endpoint.path}", "T"), lookup)}
            sender = Sender(routes, transport, sending, ledger=ledger, now=lambda: NOW)
            taken: list[Receipt] = []
            for receipt in sender.send(rows):
                taken.append(receipt)
                if len(taken) == is_killed_after:
                    return taken
            sender.save()
            self.summary = sender.sink.summary
            ledger.end()
            return taken
        finally:
            transport.close()
            ledger.close()


@pytest.fixture
def night(ledger_engine: sa.Engine, adjust_sandbox: SandboxServer) -> Night:
    adjust_sandbox.configure(clock=lambda: float(SECOND))
    return Night(ledger_engine, adjust_sandbox.url)


def order(order_id: str, *devices: str, ago: timedelta = timedelta(0), **changes: Any) -> dict[str, Any]:
    """A purchase of a device, or of one with several ids."""
    names = ("gps_adid", "adid", "idfv")
    ids = {**dict.fromkeys(names, ...), **dict(zip(names, devices, strict=False))}
    return row(order_id=order_id, created_at=NOW - ago, revenue="0.50", currency="USD", **ids, **changes)


def ends(receipts: Sequence[Receipt]) -> dict[str | None, str]:
    return {each.event_id: each.reason or each.outcome.value for each in receipts}


def recorded(sandbox: SandboxServer) -> list[dict[str, str]]:
    return [each["params"] for each in sandbox.events()]  # type: ignore[misc]


def test_a_row_that_is_a_day_late_is_reported_before_it_is_sent(night: Night, adjust_sandbox: SandboxServer) -> None:
    assert ends(night.send([order("1", "a"), order("2", "b", ago=3 * DAY)], "monday")) == {
        "1": "delivered",
        "2": "delivered",
    }
    late = [order("3", "a", ago=DAY), order("4", "b", ago=DAY)]

    receipts = night.send(late, "tuesday")
    assert ends(receipts) == {"3": "late_in_lane", "4": "delivered"}
    [refusal] = [each for each in receipts if each.event_id == "3"]
    assert "1 day, 0:00:00 older" in refusal.detail
    assert len(refusal.detail) < 200
    assert adjust_sandbox.stats()["requests"] == 3
    with night.engine.connect() as connection:
        assert "3" not in set(connection.scalars(sa.select(events.c.event_id)))
    # Without it, Adjust is who tells.
    assert ends(night.send(late, "wednesday", remember_lanes=False))["3"] == "bad_event_state"
    assert adjust_sandbox.stats()["order_violations"] == 1


def test_a_late_row_arrives_at_the_time_of_its_lane(night: Night, adjust_sandbox: SandboxServer) -> None:
    night.send([order("1", "a")], "monday")
    late = order("2", "a", ago=DAY, callback_params={"shop": "de"})
    [receipt] = night.send([late], "tuesday", late="send_at_lane_time")
    assert (receipt.outcome.value, receipt.sent_at) == ("delivered", NOW)
    params = recorded(adjust_sandbox)[-1]
    assert params["created_at_unix"] == str(SECOND)
    assert json.loads(params["callback_params"]) == {"event_id": "2", "shop": "de", "true_time": "2026-04-30T12:00:00Z"}
    assert adjust_sandbox.stats()["order_violations"] == 0

    assert (night.summary.adjusted, night.summary.at_lane_time) == (1, 1)
    assert night.summary.first_event_at == NOW, "the report shows it then"
    assert ("adjusted", "1", "sent at the lane's time: 1") in outcome_rows(night.summary)
    assert DeliverySummary.from_state(json.loads(json.dumps(night.summary.as_state()))) == night.summary
    with night.engine.connect() as connection:
        # The event is known by its own time, and counted where Adjust books it.
        own = NOW - DAY
        assert own.replace(tzinfo=None) in set(connection.scalars(sa.select(events.c.occurred_at)))
        assert set(connection.scalars(sa.select(totals.c.day))) == {NOW.date()}

    # The same row once more, by whichever run: it is the event that was delivered.
    assert ends(night.send([late], "wednesday", late="send_at_lane_time")) == {"2": "delivered_before"}
    assert ends(night.send([late], "tuesday", late="refuse", try_number=2)) == {"2": "delivered"}
    assert (night.summary.adjusted, night.summary.first_event_at) == (1, NOW), "a retry's result is that of all tries"


def test_an_event_is_late_in_any_of_its_lanes_and_moves_all_of_them(
    night: Night, adjust_sandbox: SandboxServer
) -> None:
    hour = timedelta(hours=1)
    night.send([order("1", "a", ago=5 * hour), order("2", "b", "x")], "monday")
    # Older than x, not older than a.
    both = order("3", "a", "x", ago=3 * hour)
    assert ends(night.send([both], "refused")) == {"3": "late_in_lane"}
    assert ends(night.send([order("4", "a", ago=4 * hour)], "not moved")) == {"4": "delivered"}
    sent_late = [both, order("5", "a", ago=2 * hour)]
    assert ends(night.send(sent_late, "moved", late="send_at_lane_time")) == {"3": "delivered", "5": "delivered"}
    assert [each["created_at_unix"] for each in recorded(adjust_sandbox)[-2:]] == [str(SECOND)] * 2
    assert adjust_sandbox.stats()["order_violations"] == 0


def test_a_lanes_last_time_includes_events_that_adjust_may_have(night: Night, adjust_sandbox: SandboxServer) -> None:
    """Each case: what befalls the first event of a device, and how an older one of the same device ends then."""
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "delivered": ({}, "late_in_lane"),
        "in doubt": ({"fault_plan": [None, "reset_after"]}, "late_in_lane"),
        "refused": ({"unknown_devices": ["refused"]}, "delivered"),
        "held": ({"fault_plan": [None, "503", "503"]}, "delivered"),
    }
    for device, (faults, expected) in cases.items():
        adjust_sandbox.configure(**{"fault_plan": [], "unknown_devices": []} | faults)
        with suppress(AdjustUnreachable):
            night.send([order(f"first {device}", "ok"), order(device, device)], f"{device} 1", on_in_doubt="hold")
        adjust_sandbox.configure(fault_plan=[], unknown_devices=[])
        older = order(f"older {device}", device, ago=timedelta(seconds=1))
        assert ends(night.send([older], f"{device} 2")) == {f"older {device}": expected}, device


def test_events_of_one_second_are_not_late(night: Night) -> None:
    """Adjust gets whole seconds."""
    night.send([order("1", "a", ago=timedelta(milliseconds=100))], "monday")
    same_second = [order("2", "a", ago=timedelta(milliseconds=900)), order("3", "a", ago=timedelta(seconds=1))]
    assert ends(night.send(same_second, "tuesday")) == {"3": "delivered", "2": "delivered"}
    assert ends(night.send([order("4", "a", ago=timedelta(milliseconds=1001))], "wednesday")) == {"4": "late_in_lane"}


@pytest.mark.parametrize("late", ["refuse", "send_at_lane_time"])
def test_a_retry_after_a_kill_sees_its_own_events_as_the_try_before(
    night: Night, adjust_sandbox: SandboxServer, late: str
) -> None:
    rows = [order(str(number), f"d{number % 3}", ago=timedelta(minutes=60 - number)) for number in range(40)]
    night.send(rows, "monday", is_killed_after=17, late=late)
    end_leases(night.engine)
    assert set(ends(night.send(rows, "monday", try_number=2, late=late)).values()) == {"delivered"}
    assert set(ends(night.send(rows, "cleared", late=late)).values()) == {"delivered_before"}
    stats = adjust_sandbox.stats()
    assert (stats["order_violations"], night.summary.adjusted) == (0, 0)
    assert len({each["created_at_unix"] for each in recorded(adjust_sandbox)}) == 40


def test_an_event_in_doubt_is_sent_again_although_its_lane_has_later_events(
    night: Night, adjust_sandbox: SandboxServer
) -> None:
    """Whether Adjust has it, only Adjust can tell: a refusal would say that it has not."""
    adjust_sandbox.configure(fault_plan=[None, "reset_before"])
    rows = [order("0", "another", ago=2 * DAY), order("1", "a", ago=DAY)]
    assert ends(night.send(rows, "monday", max_resends=0))["1"] == "too_many_resends"
    night.send([order("2", "a")], "tuesday")
    again = night.send(rows, "monday", try_number=2, max_resends=1)
    assert ends(again)["1"] == "refused_after_resend"
    _, receipt = night.send(rows, "monday", try_number=3, max_resends=5, late="send_at_lane_time")
    assert (receipt.event_id, receipt.outcome.value, receipt.sent_at) == ("1", "delivered", NOW)


def test_a_late_row_counts_on_the_day_on_which_adjust_books_it(night: Night) -> None:
    """Or the report of either day would differ."""
    night.send([order("1", "a")], "monday")
    night.send([order("2", "a", ago=2 * DAY)], "tuesday", late="send_at_lane_time")
    by_day = [
        EventTotals("f0ob4r", Days(day, day), 0, Decimal(0), "USD") for day in ((NOW - 2 * DAY).date(), NOW.date())
    ]
    found = ledger_totals(night.engine, by_day, app_token=APP, environment="sandbox", destination="127.0.0.1", zone=UTC)
    assert [each.delivered.events for each in found] == [0, 2]


@pytest.mark.parametrize("is_stopped_first", [False, True])
def test_the_device_api_cannot_tell_an_event_from_one_that_another_run_sent_in_its_second(
    night: Night, adjust_sandbox: SandboxServer, *, is_stopped_first: bool
) -> None:
    """It shows the last time, and that is the other one's: the event, which never arrived, would count as delivered."""
    adjust_sandbox.configure(api_tokens=["api"])
    recorded_by = DeviceApi(adjust_sandbox.url, "api").recorded
    night.send([order("1", "a", ago=timedelta(milliseconds=400))], "monday")
    adjust_sandbox.configure(fault_plan=["reset_before"])
    same_second = [order("2", "a", ago=timedelta(milliseconds=300))]
    if is_stopped_first:
        lost = night.send(same_second, "tuesday", on_in_doubt="hold")
        assert ends(lost) == {"2": "no_answer"}
    [receipt] = night.send(same_second, "tuesday", on_in_doubt="verify", lookup=recorded_by, try_number=2)
    assert (receipt.outcome.value, receipt.reason) == ("in_doubt", "shared_second")
    assert adjust_sandbox.stats()["recorded"] == 1
    assert night.summary.adjusted == 0


def test_the_device_api_recognises_an_event_that_is_the_last_of_its_lane(
    night: Night, adjust_sandbox: SandboxServer
) -> None:
    """Its own time is the lane's, since it was left in doubt: nobody else has that second."""
    adjust_sandbox.configure(api_tokens=["api"], fault_plan=[None, "reset_after"])
    rows = [order("0", "another", ago=DAY), order("1", "a")]
    assert ends(night.send(rows, "monday", on_in_doubt="hold"))["1"] == "no_answer"
    recorded_by = DeviceApi(adjust_sandbox.url, "api").recorded
    again = night.send(rows, "monday", on_in_doubt="verify", lookup=recorded_by, try_number=2)
    assert ends(again) == {"0": "delivered", "1": "delivered"}
    assert adjust_sandbox.stats()["recorded"] == 2


def test_what_cannot_take_its_own_time_is_refused(night: Night, adjust_sandbox: SandboxServer) -> None:
    night.send([order("1", "a")], "monday")
    taken = order("2", "a", ago=DAY, callback_params={"loaded_for": "x"})
    long = order("3", "a", ago=DAY, callback_params={"text": "x" * (999_999 - 210)})
    sending = {"late": "send_at_lane_time", "late_param": "loaded_for"}
    receipts = night.send([taken, long], "tuesday", **sending)
    assert ends(receipts) == {"2": "invalid_callback_params", "3": "too_large"}
    assert all("late_param" in each.detail or "own time" in each.detail for each in receipts)
    assert adjust_sandbox.stats()["requests"] == 1
    with night.engine.connect() as connection:
        assert list(connection.scalars(sa.select(events.c.event_id))) == ["1"]


def test_a_lane_is_known_under_the_keys_that_the_connection_has(night: Night) -> None:
    older = iter(range(1, 100))

    def of_the_device(keys: Any) -> str:
        number = next(older)
        [end] = ends(night.send([order(str(number), "a", ago=number * DAY / 9)], str(number), keys=keys)).values()
        return end

    assert of_the_device(b"first") == "delivered"
    assert of_the_device(b"first") == "late_in_lane"
    assert of_the_device((b"second", b"first")) == "late_in_lane", "an older key is still looked for"
    assert of_the_device(b"second") == "bad_event_state", "under another key nothing is known"


def test_events_without_an_order_have_no_lanes(night: Night, adjust_sandbox: SandboxServer) -> None:
    adjust_sandbox.configure(app_tokens=None)
    earlier = {"order_id": "2", "created_at": NOW - DAY, "revenue": "0.1", "currency": "USD", "ad_impressions_count": 1}
    rows = [{"gps_adid": "a", **earlier, "order_id": "1", "created_at": NOW}, {"gps_adid": "a", **earlier}]
    reading = {"app_token": APP, "environment": "sandbox"}
    for run, each in enumerate(rows):
        assert ends(night.send([each], f"{run}", endpoint=AD_REVENUE, reading=reading)) == {
            each["order_id"]: "delivered"
        }
    with night.engine.connect() as connection:
        assert connection.execute(sa.select(lanes)).all() == []


def test_no_device_id_is_kept(night: Night) -> None:
    device = "3f0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8"
    night.send([order("1", device)], "monday")
    with night.engine.connect() as connection:
        for table in sa.inspect(connection).get_table_names():
            assert device not in str(connection.execute(sa.text(f"SELECT * FROM {table}")).all())
        [kept] = connection.execute(sa.select(lanes)).all()
    assert kept.last_at == NOW.replace(tzinfo=None)


def test_tasks_that_send_at_once_leave_the_latest_time(night: Night) -> None:
    """Eight tasks with the same devices, each of another second."""
    devices = [f"d{number}" for number in range(6)]

    def send(task: int) -> None:
        ago = timedelta(minutes=task)
        night.send([order(f"{task} {device}", device, ago=ago) for device in devices], f"shard {task}")

    Ledger(night.engine, TaskInstanceId()).close()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, [3, 1, 7, 0, 5, 2, 6, 4]))
    with night.engine.connect() as connection:
        assert set(connection.scalars(sa.select(lanes.c.last_at))) == {NOW.replace(tzinfo=None)}


def test_lanes_are_forgotten_after_58_days(night: Night) -> None:
    rows = [order(str(number), f"d{number}", ago=number * timedelta(hours=1)) for number in range(5)]
    night.send(rows, "monday")
    later = NOW + timedelta(days=58) - timedelta(hours=2, minutes=30)
    assert prune(night.engine, older_than=timedelta(days=90), now=later, batch_size=1) == 0
    assert ends(night.send([order("6", "d2", ago=3 * DAY), order("7", "d3", ago=3 * DAY)], "tuesday")) == {
        "6": "late_in_lane",
        "7": "bad_event_state",
    }
    assert prune(night.engine, older_than=timedelta(days=90), now=later, is_stopped=lambda: True) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"late": "drop"}, "late='drop' must be one of refuse, send_at_lane_time"),
        ({"late": "send_at_lane_time"}, "needs remember_lanes=True"),
        ({"remember_lanes": True}, "remember_lanes needs ledger_conn_id"),
    ],
)
def test_an_option_without_its_prerequisite_is_refused(options: dict[str, Any], message: str) -> None:
    sender = Sender(
        {None: Route(EventParser(), Target("https://x/event", "T"))}, FakeTransport(), SendOptions(**options)
    )
    with pytest.raises(AdjustConfigurationError, match=message):
        list(sender.send([row()]))


def test_lanes_need_a_secret(tmp_path: Any) -> None:
    """Or their digests would show ids that are short to who tries them all."""
    ledger = Ledger(sa.create_engine(f"sqlite:///{tmp_path}/ledger.db"), TaskInstanceId())
    routes = {None: Route(EventParser(), Target("https://x/event", "T"))}
    with pytest.raises(AdjustConfigurationError, match="no secret"):
        Sender(routes, FakeTransport(), SendOptions(remember_lanes=True), ledger=ledger)
    ledger.close()


# -- any nights --------------------------------------------------------------------------------------------------------

_events = st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 1)), st.integers(0, 5_000))


@pytest.fixture
def quick_night(tmp_path: Any, adjust_sandbox: SandboxServer) -> Iterator[Night]:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db")
    yield Night(engine, adjust_sandbox.url)
    engine.dispose()


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    nights=st.lists(st.lists(_events, max_size=5), min_size=2, max_size=4),
    late=st.sampled_from(["refuse", "send_at_lane_time"]),
)
def test_adjust_refuses_nothing_whatever_is_late(
    quick_night: Night, adjust_sandbox: SandboxServer, nights: list[list[Any]], late: str
) -> None:
    """Any devices with one id or two, any times, loaded in any nights: no event reaches Adjust out of order, what is not
    sent is what is older than the last of any of its lanes, and with ``send_at_lane_time`` everything arrives."""
    with quick_night.engine.begin() as connection:
        drop_all(connection)
    adjust_sandbox.reset()
    adjust_sandbox.configure(clock=lambda: float(SECOND))
    last: dict[str, datetime] = {}
    expected: dict[str, bool] = {}
    for number, its_events in enumerate(nights):
        rows = []
        for place, (device, second_id, milliseconds) in enumerate(its_events):
            devices = [f"a{device}", *([] if second_id is None else [f"x{second_id}"])]
            rows.append(order(f"{number}-{place}", *devices, ago=timedelta(milliseconds=milliseconds)))
        for each in sorted(rows, key=lambda each: each["created_at"]):
            at = each["created_at"].astimezone(UTC).replace(microsecond=0)
            ids = [each[name] for name in ("gps_adid", "adid") if name in each]
            is_late = any(at < last.get(device, at) for device in ids)
            expected[each["order_id"]] = is_late
            if not is_late or late == "send_at_lane_time":
                at = max([at, *(last[device] for device in ids if device in last)])
                last.update(dict.fromkeys(ids, at))
        receipts = quick_night.send(rows, str(number), late=late)
        for receipt in receipts:
            is_late = expected[str(receipt.event_id)]
            assert (receipt.reason == "late_in_lane") is (is_late and late == "refuse")
            assert (receipt.sent_at is not None) is (is_late and late == "send_at_lane_time")
    assert adjust_sandbox.stats()["order_violations"] == 0
    assert adjust_sandbox.stats()["recorded"] == sum(not late_one or late != "refuse" for late_one in expected.values())
