"""A route that Adjust refuses ends its own events, and those of the other routes are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from fake_transport import (
    ACCEPTED,
    BAD_CERTIFICATE,
    BROKEN,
    DOWN,
    LOST,
    OK,
    WRONG_EVENT_TOKEN,
    WRONG_TOKEN,
    Answer,
    FakeTransport,
    by_outcome,
)
from s2s_case import NOW, job, until_raised

from airflow_provider_adjust.s2s import EventParser, Retries, Route, SendOptions
from airflow_provider_adjust.s2s.answers.outcome import Outcome, Recorded
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.errors import AdjustUnreachable, DeliveryHalted, DeliveryStopped, NotAdjust
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.transports import Target


def of_route(name: str, position: int, *devices: str, **facts: Any) -> Job:
    """An event of the app of that name."""
    return replace(job(position, *devices, app=f"{name}app", token=f"{name}tok", **facts), route=name)


def both(count: int) -> list[Job]:
    """Events of devices of their own, in turn of ``ios`` and of ``android``: the odd positions and the even ones."""
    return [of_route("ios" if n % 2 else "android", n, f"d{n}") for n in range(1, count + 1)]


class Claims:
    """Claims everything as soon as it is asked for."""

    batch_size = 8

    def may_send(self) -> bool:
        return True

    def rate_share(self) -> float:
        return 1.0

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        answer: Future[list[Claim | Receipt]] = Future()
        answer.set_result([Claim(sent_before=each.sent_before) for each in jobs])
        return answer


def run(
    transport: FakeTransport, jobs: Iterable[Job], *, names: Sequence[str] = ("ios", "android"), **options: Any
) -> tuple[list[Receipt], Exception | None]:
    lookup, claims = options.pop("lookup", None), options.pop("claims", None)
    routes: dict[str | None, Route] = {
        name: Route(EventParser(), Target(f"https://{name}.test/event"), lookup, connection=f"adjust_{name}")
        for name in names
    }
    sending = SendOptions(**{"retries": Retries(jitter=lambda: 1.0), **options})
    delivery = Delivery(
        transport,
        routes,
        sending,
        sink=Sink(),
        claims=claims,
        start_lookup=lambda work: work(),
        clock=transport.clock,
    )
    receipts: list[Receipt] = []
    try:
        receipts.extend(delivery.run(jobs))
    except (DeliveryStopped, LookupError) as error:
        return receipts, error
    return receipts, None


@pytest.mark.parametrize("claims", [None, Claims()], ids=["without a ledger", "with a ledger"])
@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (WRONG_TOKEN, "held", "Adjust refuses its events (not_authorized; status 401"),
        (WRONG_EVENT_TOKEN, "held", "Adjust refuses its events (invalid_event_token; status 400"),
        (ACCEPTED, "in_doubt", "Adjust refuses its events (wrong_s2s_token; status 202"),
        (BAD_CERTIFICATE, "held", "Adjust refuses its events (tls_refused"),
        (Answer(302), "held", "something other than Adjust answered (redirected"),
    ],
    ids=["token", "event token", "202", "certificate", "redirect"],
)
def test_a_halted_route_ends_its_own_events_only_and_is_named(
    answer: Answer, outcome: str, words: str, claims: Any
) -> None:
    transport = FakeTransport({1: [answer]})
    receipts, error = run(transport, both(400), claims=claims)
    assert type(error) is (NotAdjust if answer.status == 302 else DeliveryHalted)
    assert str(error).startswith(f"route 'ios' (connection adjust_ios): {words}")
    assert str(error).endswith("; the other routes' events were sent")
    assert [position for position in transport.positions if position % 2] == [1]
    assert sorted(by_outcome(receipts)["delivered"]) == list(range(2, 401, 2))
    assert sorted(receipt.position for receipt in receipts) == list(range(1, 401))
    assert receipts[0].outcome.value == outcome
    rest = [receipt for receipt in receipts if receipt.position % 2 and receipt.position > 1]
    assert {(receipt.outcome, receipt.reason) for receipt in rest} == {(Outcome.HELD, "stopped")}


def test_a_route_that_is_halted_late_ends_what_waits_for_another_attempt_at_once() -> None:
    """Its first events arrive, one waits for half a minute, and then its token is revoked."""
    jobs = [of_route("ios", 1, "a"), of_route("ios", 2, "b"), of_route("ios", 3, "b"), of_route("ios", 4, "c")]
    jobs += [of_route("android", number, f"d{number}") for number in range(5, 9)]
    transport = FakeTransport({2: [Answer(503, retry_after="30")], 4: [WRONG_TOKEN]})
    receipts, error = run(transport, jobs, max_in_flight=2)
    assert isinstance(error, DeliveryHalted)
    assert by_outcome(receipts)["delivered"] == [1, 5, 6, 7, 8]
    assert sorted(by_outcome(receipts)["held"]) == [2, 3, 4]
    assert transport.clock() < 1000 + 20
    assert transport.positions.count(2) == 1


def test_what_is_claimed_when_its_route_is_halted_is_not_sent() -> None:
    jobs = [of_route("ios", number, f"d{number}") for number in range(1, 31)]
    jobs += [of_route("android", number, f"d{number}") for number in range(31, 41)]
    transport = FakeTransport({4: [WRONG_TOKEN]})
    receipts, error = run(transport, jobs, max_in_flight=1, claims=Claims())
    assert isinstance(error, DeliveryHalted)
    assert [position for position in transport.positions if position <= 30] == [1, 2, 3, 4]
    assert sorted(by_outcome(receipts)["delivered"]) == [1, 2, 3, *range(31, 41)]
    assert sorted(by_outcome(receipts)["held"]) == list(range(4, 31))


def test_what_is_in_flight_when_its_route_is_halted_is_not_sent_again() -> None:
    slow = {"seconds": 2.0}
    answers = {
        3: [WRONG_TOKEN],
        5: [replace(DOWN, **slow)],
        7: [replace(LOST, **slow)],
        9: [replace(OK, **slow)],
        11: [replace(WRONG_TOKEN, **slow)],
    }
    transport = FakeTransport(answers)
    receipts, error = run(transport, both(60), max_in_flight=40, on_in_doubt="resend")
    assert isinstance(error, DeliveryHalted)
    outcomes = {receipt.position: receipt.outcome.value for receipt in receipts}
    assert [outcomes[position] for position in (3, 5, 7, 9, 11)] == ["held", "held", "in_doubt", "delivered", "held"]
    assert all(transport.positions.count(position) == 1 for position in answers)
    assert {outcomes[position] for position in range(2, 61, 2)} == {"delivered"}


def test_one_device_and_event_token_in_two_apps_is_two_lanes() -> None:
    """The lanes that a halted route holds are those of its app."""
    lanes = []
    for name in ("ios", "android"):
        row = {"app_token": f"{name}1234567"[:12], "event_token": "f0ob4r", "environment": "sandbox", "gps_adid": "d1"}
        parser = EventParser()
        lanes.append(set(parser.parse(row | {"created_at": NOW}, now=NOW).lanes))
    assert lanes[0].isdisjoint(lanes[1])


def test_when_each_route_is_halted_the_delivery_stops_and_names_them_all() -> None:
    transport = FakeTransport({1: [WRONG_TOKEN], 2: [BAD_CERTIFICATE]})

    def endless() -> Iterator[Job]:
        yield from both(100_000)

    receipts, error = run(transport, endless())
    assert isinstance(error, DeliveryHalted)
    assert "route 'ios' (connection adjust_ios): Adjust refuses its events (not_authorized" in str(error)
    assert "; route 'android' (connection adjust_android): Adjust refuses its events (tls_refused" in str(error)
    assert "were sent" not in str(error)
    assert transport.positions == [1, 2]
    assert len(receipts) < 500


def test_a_mapping_of_one_connection_stops_at_once() -> None:
    transport = FakeTransport(otherwise=WRONG_TOKEN)
    receipts, error = run(transport, [of_route("ios", n, f"d{n}") for n in range(1, 500)], names=["ios"])
    assert isinstance(error, DeliveryHalted)
    assert str(error).startswith("Adjust refuses the whole batch")
    assert transport.positions == [1]
    assert len(receipts) < 499


def test_an_event_in_doubt_of_a_halted_route_is_not_looked_up_to_be_sent() -> None:
    jobs = [of_route("ios", 1, "a"), replace(of_route("ios", 2, "b"), sent_before=True)]
    jobs += [of_route("android", number, f"d{number}") for number in range(3, 6)]
    asked: list[str] = []

    def lookup(event: Any) -> Recorded:
        asked.append(event.event_id)
        return Recorded.NO

    transport = FakeTransport({1: [WRONG_TOKEN]})
    receipts, error = run(transport, jobs, on_in_doubt="verify", lookup=lookup, claims=Claims())
    assert isinstance(error, DeliveryHalted)
    assert by_outcome(receipts) == {"held": [1], "in_doubt": [2], "delivered": [3, 4, 5]}
    assert asked == []


def test_another_stop_is_raised_rather_than_the_halt_since_a_retry_may_send_what_is_left() -> None:
    transport = FakeTransport({1: [WRONG_TOKEN]}, otherwise=BROKEN)
    receipts, error = run(transport, both(4))
    assert isinstance(error, AdjustUnreachable)
    assert by_outcome(receipts) == {"held": [1, 3, 2, 4]}


@pytest.mark.parametrize(
    ("cause", "raised"),
    [(LookupError("the cursor is gone"), LookupError), (DeliveryStopped("the checkpoint is full"), DeliveryHalted)],
)
def test_an_error_of_the_source_is_raised_unless_the_halt_is_its_cause(
    cause: Exception, raised: type[Exception]
) -> None:
    def source() -> Iterator[Job]:
        yield from both(4)
        raise cause

    receipts, error = run(FakeTransport({1: [WRONG_TOKEN]}), source())
    assert isinstance(error, raised)
    assert by_outcome(receipts)["delivered"] == [2, 4]


def test_without_a_connections_name_the_route_alone_is_named() -> None:
    routes: dict[str | None, Route] = {
        name: Route(EventParser(), Target(f"https://{name}.test/event")) for name in ("ios", "android")
    }
    transport = FakeTransport({1: [WRONG_TOKEN]})
    delivery = Delivery(transport, routes, SendOptions(), sink=Sink(), clock=transport.clock)
    _, error = until_raised(delivery.run(both(4)), DeliveryHalted)
    assert str(error).startswith("route 'ios': Adjust refuses its events (not_authorized")
