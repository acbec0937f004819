"""The pipeline put together: rows in, receipts out, over real connections to a sandbox that fails as Adjust may."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fake_transport import FakeTransport
from memory_store import MemoryStore
from s2s_case import GPS_ADID, NOW, SECOND, parse, row, until_raised

from airflow_provider_adjust.s2s import Retries, Route, RowOptions, Sender, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.checkpoint import Checkpoint
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import DeliveryStopped, LedgerUnavailable, StreamOutOfOrder
from airflow_provider_adjust.s2s.events.job import Job
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.ledger.ledger import Ledger
from airflow_provider_adjust.s2s.ledger.schema import deliveries, drop_all
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.redaction import mask_params
from airflow_provider_adjust.s2s.transports import Target
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport
from airflow_provider_adjust.sandbox import SandboxServer

AT_ONCE = Retries(attempts=10, jitter=lambda: 0.0)


def drop_ledger(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        drop_all(connection)


def _rows(count: int, devices: int = 7) -> list[dict[str, Any]]:
    return [
        row(
            created_at=NOW - timedelta(seconds=count - number),
            gps_adid=f"device-{number % devices}",
            revenue="0.10",
            currency="USD",
        )
        for number in range(count)
    ]


@pytest.fixture
def sandbox(adjust_sandbox: SandboxServer) -> SandboxServer:
    adjust_sandbox.configure(clock=lambda: float(SECOND))
    return adjust_sandbox


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    transport = RequestsTransport(max_in_flight=8, timeout=(5.0, 5.0))
    yield transport
    transport.close()


def _sender(url: str, transport: Any, *, on_in_doubt: Any = "resend", max_resends: int = 1, **options: Any) -> Sender:
    routes = {None: Route(EventParser(), Target(f"{url}/event", "T"))}
    sending = SendOptions(max_in_flight=8, retries=AT_ONCE, on_in_doubt=on_in_doubt, max_resends=max_resends)
    return Sender(routes, transport, sending, now=lambda: NOW, **options)


def _summarised(sender: Sender, receipts: list[Receipt]) -> DeliverySummary:
    summary = DeliverySummary(read=sender.read)
    for receipt in receipts:
        summary.add(receipt)
    summary.check()
    return summary


@pytest.mark.parametrize("how", [list, iter], ids=["list", "stream"])
def test_all_rows_arrive_in_the_order_of_each_lane(
    sandbox: SandboxServer, transport: RequestsTransport, how: Any
) -> None:
    sender = _sender(sandbox.url, transport)
    summary = _summarised(sender, list(sender.send(how(_rows(200)))))
    stats = sandbox.stats()
    assert (stats["recorded"], stats["order_violations"], stats["repeated"]) == (200, 0, 0)
    assert stats["max_concurrent_per_lane"] == 1
    assert 1 < stats["max_concurrent"] <= 8
    assert stats["revenue"] == {"USD": "20.00"} == {"USD": format(summary.revenue["USD"], "f")}
    assert sender.slowed_to is None


def test_faults_lose_nothing_and_keep_the_order(sandbox: SandboxServer, transport: RequestsTransport) -> None:
    faults = ["500", "reset_before", "truncate_before", "stall_before", "502", "408"]
    sandbox.configure(fault_plan=[None, *faults, None, None, *faults], stall_seconds=0.05)
    sender = _sender(sandbox.url, transport, max_resends=9)
    summary = _summarised(sender, list(sender.send(_rows(60))))
    stats = sandbox.stats()
    assert summary.outcomes == {"delivered": 60}
    assert (stats["recorded"], stats["order_violations"], stats["repeated"]) == (60, 0, 0)
    assert stats["faults"] == dict.fromkeys(sorted(faults), 2)


@pytest.mark.parametrize(
    ("on_in_doubt", "recorded", "repeated", "outcomes"),
    [
        ("resend", 5, 1, {"delivered": 4}),
        ("hold", 2, 0, {"delivered": 1, "in_doubt": 1, "held": 2}),
    ],
)
def test_an_answer_that_was_lost_after_recording(
    sandbox: SandboxServer,
    transport: RequestsTransport,
    on_in_doubt: Any,
    recorded: int,
    repeated: int,
    outcomes: dict[str, int],
) -> None:
    sandbox.configure(fault_plan=[None, "reset_after"])
    sender = _sender(sandbox.url, transport, on_in_doubt=on_in_doubt)
    summary = _summarised(sender, list(sender.send(_rows(4, devices=1))))
    assert summary.outcomes == outcomes
    assert (sandbox.stats()["recorded"], sandbox.stats()["repeated"]) == (recorded, repeated)


def test_invalid_rows_are_never_sent(sandbox: SandboxServer, transport: RequestsTransport) -> None:
    rows = [*_rows(3), row(gps_adid=None), row(created_at=NOW - timedelta(days=60)), row(revenue=0, currency="USD")]
    sender = _sender(sandbox.url, transport)
    summary = _summarised(sender, list(sender.send(rows)))
    assert summary.outcomes == {"delivered": 3, "invalid": 2, "expired": 1}
    assert sandbox.stats()["requests"] == 3


def test_a_stream_out_of_order_delivers_what_came_before(sandbox: SandboxServer, transport: RequestsTransport) -> None:
    sender = _sender(sandbox.url, transport)
    rows = _rows(10)
    receipts, _ = until_raised(sender.send(iter([*rows[:6], rows[2], *rows[7:]])), StreamOutOfOrder)
    assert _summarised(sender, receipts).outcomes == {"delivered": 6}
    assert sandbox.stats()["recorded"] == 6


def test_each_route_has_its_own_target() -> None:
    transport = FakeTransport()
    routes = {
        "ios": Route(EventParser(RowOptions(app_token="iosapp")), Target("https://ios.test/event", "I")),
        "android": Route(EventParser(RowOptions(app_token="androidapp")), Target("https://android.test/event", "A")),
    }
    rows = [
        row(app_token=..., os_name=name, gps_adid=f"d{n}") for n, name in enumerate(["ios", "android", "ios", "tv"])
    ]
    sender = Sender(routes, transport, route_by="os_name", now=lambda: NOW)
    receipts = list(sender.send(rows))
    assert Counter(target.url for target in transport.targets) == {
        "https://ios.test/event": 2,
        "https://android.test/event": 1,
    }
    assert [receipt.position for receipt in receipts if receipt.outcome is Outcome.INVALID] == [4]


def test_jobs_shows_what_would_be_sent_and_sends_nothing() -> None:
    transport = FakeTransport()
    sender = _sender("https://s2s.adjust.test", transport)
    rows = [row(), row(created_at=NOW - timedelta(seconds=5)), row(gps_adid=None)]
    assert [(type(item), item.position) for item in sender.jobs(rows)] == [(Receipt, 3), (Job, 2), (Job, 1)]
    assert sender.read == 3
    assert transport.sent == []


def test_a_stop_ends_the_run_after_what_is_in_flight() -> None:
    sender = _sender("https://s2s.adjust.test", transport := FakeTransport())
    receipts = sender.send(_rows(300))
    first = next(receipts)
    sender.stop("the task was asked to end")
    rest, raised = until_raised(receipts, DeliveryStopped)
    assert str(raised) == "the task was asked to end"
    outcomes = Counter(receipt.outcome.value for receipt in [first, *rest])
    assert outcomes["delivered"] == len(transport.sent) < 10
    assert outcomes["held"] == len(rest) + 1 - outcomes["delivered"] > 0


def test_a_log_may_show_parameters_that_are_masked() -> None:
    event = parse(
        {"extra_params": ["mail"]}, revenue="5.00", currency="USD", ip_address="192.0.2.1", mail="ann@example.test"
    )
    shown = mask_params(event.params, EVENT)
    assert (shown["revenue"], shown["currency"], shown["environment"]) == ("5.00", "USD", "sandbox")
    assert shown["gps_adid"] == f"{GPS_ADID[:4]}…"
    assert shown.keys() == event.params.keys()
    for secret in (GPS_ADID, "192.0.2.1", "abc123abc123", "f0ob4r", "ann@example.test"):
        assert secret not in str(shown)


# --- what is known when a run breaks off ------------------------------------------------------------------------------


@pytest.fixture
def ledger(ledger_engine: sa.Engine) -> Iterator[Ledger]:
    """A ledger that writes what was settled at once: each look at its clock is a second later."""
    seconds = itertools.count()
    ledger = Ledger(ledger_engine, TaskInstanceId("dag", "run", "send"), now=lambda: NOW, clock=seconds.__next__)
    yield ledger
    ledger.close()


def test_a_ledger_that_cannot_note_what_was_delivered_ends_the_run(ledger: Ledger, ledger_engine: sa.Engine) -> None:
    sender = _sender("https://s2s.adjust.test", transport := FakeTransport(), ledger=ledger)

    def lose_the_tables() -> None:
        if len(transport.sent) > 1:  # the canary was answered, and the others are claimed
            drop_ledger(ledger_engine)
        ledger.begin_claim([]).exception()  # what is being written has ended

    transport.on_poll = lose_the_tables
    receipts, _ = until_raised(sender.send(_rows(40, devices=40)), LedgerUnavailable)
    outcomes = Counter(receipt.outcome.value for receipt in receipts)
    assert outcomes["delivered"] == len(transport.sent) < 20
    assert outcomes["held"] == 40 - outcomes["delivered"]


@pytest.mark.parametrize("with_ledger", [True, False])
@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_saving_writes_what_there_is(
    ledger: Ledger, ledger_engine: sa.Engine, with_ledger: bool, with_checkpoint: bool
) -> None:
    store = MemoryStore()
    sender = _sender(
        "https://s2s.adjust.test",
        FakeTransport(),
        ledger=ledger if with_ledger else None,
        checkpoint=Checkpoint(store) if with_checkpoint else None,
    )
    list(sender.send(_rows(3)))
    sender.save()
    with ledger_engine.connect() as connection:
        noted = connection.scalars(sa.select(deliveries.c.status)).all()
    assert noted == (["delivered"] * 3 if with_ledger else [])
    assert Checkpoint(store).resumes == (3 if with_checkpoint else 0)


def test_the_ledger_is_saved_first_since_it_must_not_know_less(ledger: Ledger, ledger_engine: sa.Engine) -> None:
    store = MemoryStore()
    transport = FakeTransport()
    transport.on_poll = lambda: drop_ledger(ledger_engine)  # after the claim, before the answer
    sender = _sender("https://s2s.adjust.test", transport, ledger=ledger, checkpoint=Checkpoint(store))

    def deliver() -> None:
        list(sender.send(_rows(1)))
        sender.save()

    with pytest.raises(LedgerUnavailable):
        deliver()
    assert store.text is None


def test_a_stop_of_the_task_hurries_its_memory(ledger_engine: sa.Engine) -> None:
    ledger = Ledger(ledger_engine, TaskInstanceId("dag", "run", "send"))
    checkpoint = Checkpoint(MemoryStore())
    route = Route(EventParser(RowOptions()), Target("http://127.0.0.1/event"))
    sender = Sender({None: route}, FakeTransport(), ledger=ledger, checkpoint=checkpoint)
    sender.stop("the task was killed")
    assert (ledger._patience, checkpoint._patience) == (2.0, 2.0)
    ledger.end("DeliveryStopped")
    ledger.close()
