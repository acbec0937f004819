"""The loop, against a transport with a clock that only moves when the loop waits."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from effort import examples
from fake_transport import (
    ACCEPTED,
    ANSWER_SECONDS,
    BAD_CERTIFICATE,
    BAD_GATEWAY,
    BAD_STATE,
    BROKEN,
    BUSY,
    DOWN,
    DUPLICATE,
    FIREWALL,
    LOST,
    OK,
    REFUSED,
    TRUNCATED,
    TRUNCATED_400,
    TRUNCATED_502,
    UNKNOWN_DEVICE,
    UNREADABLE,
    WRONG_EVENT_TOKEN,
    WRONG_TOKEN,
    Answer,
    FakeTransport,
    by_outcome,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from s2s_case import SECOND, job, until_raised

from airflow_provider_adjust.adjust_api.device import DeviceApiError
from airflow_provider_adjust.s2s import Event, EventParser, Retries, Route, SendOptions
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.classify import judge
from airflow_provider_adjust.s2s.answers.outcome import Outcome, Recorded, Verdict
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.lookup import Start
from airflow_provider_adjust.s2s.delivery.loop import Delivery
from airflow_provider_adjust.s2s.delivery.pacing import Pace
from airflow_provider_adjust.s2s.delivery.route import Lookup
from airflow_provider_adjust.s2s.delivery.sink import Sink
from airflow_provider_adjust.s2s.errors import (
    AdjustConfigurationError,
    AdjustUnreachable,
    DeliveryHalted,
    DeliveryStopped,
    FinalError,
    LedgerUnavailable,
    NotAdjust,
)
from airflow_provider_adjust.s2s.events.job import Claim, Job
from airflow_provider_adjust.s2s.transports import Completion, Failure, Target
from airflow_provider_adjust.s2s.transports.base import MAX_ANSWER_BYTES

#: Waits of 0.5, 1, 2 … seconds, without chance.
NO_JITTER = Retries(jitter=lambda: 1.0)
TARGET = Target("https://s2s.adjust.test/event", "T")


def _delivery(
    transport: FakeTransport,
    *,
    lookup: Lookup | None = None,
    claims: Any = None,
    sink: Sink | None = None,
    start_lookup: Start = lambda work: work(),
    **options: Any,
) -> Delivery:
    routes = {None: Route(EventParser(), TARGET, lookup)}
    sending = SendOptions(**{"retries": NO_JITTER, **options})
    return Delivery(
        transport,
        routes,
        sending,
        sink=sink or Sink(),
        claims=claims,
        start_lookup=start_lookup,
        clock=transport.clock,
    )


def _run(
    transport: FakeTransport, jobs: Iterable[Job | Receipt], **options: Any
) -> tuple[list[Receipt], BaseException | None]:
    """All receipts, and what was raised after them."""
    receipts: list[Receipt] = []
    try:
        for receipt in _delivery(transport, **options).run(jobs):
            receipts.append(receipt)
    except (DeliveryStopped, LookupError) as error:
        return receipts, error
    return receipts, None


def _devices(count: int, **facts: Any) -> list[Job]:
    """Events of as many devices."""
    return [job(position, f"d{position}", **facts) for position in range(1, count + 1)]


# --- one event --------------------------------------------------------------------------------------------------------


def test_a_delivered_event_and_its_receipt() -> None:
    transport = FakeTransport({1: [Answer(200, '{"skadn_conv_value": 3}')]})
    given_job = replace(job(1, "a"), row={"the": "row"})
    (receipt,), error = _run(transport, [given_job])
    assert error is None
    assert receipt == Receipt(
        outcome=Outcome.DELIVERED,
        reason="",
        event_id=given_job.event.event_id,
        position=1,
        http_status=200,
        answer=b'{"skadn_conv_value": 3}',
        attempts=1,
        event=given_job.event,
        row={"the": "row"},
    )
    assert receipt.response == {"skadn_conv_value": 3}
    assert "row" not in repr(receipt)
    assert "skadn" not in repr(receipt)
    assert transport.targets == [TARGET]
    assert transport.bodies == [given_job.event.body]


def test_without_events_there_are_no_receipts() -> None:
    transport = FakeTransport()
    assert _run(transport, []) == ([], None)
    assert transport.sent == []


ENDLESS = Answer(200, '{"status": "OK", "x": "' + "x" * MAX_ANSWER_BYTES)
ENDLESS_PAGE = Answer(200, "<html>" + "x" * MAX_ANSWER_BYTES)
#: Answers to one event until it has a receipt: how often it is sent, its outcome, and what stops the run.
ENDINGS = [
    pytest.param([OK], 1, "delivered", "", None, id="200"),
    pytest.param([DUPLICATE], 1, "duplicate", "earlier_unique_event", None, id="duplicate"),
    pytest.param([UNKNOWN_DEVICE], 1, "rejected", "device_not_found", None, id="rejected"),
    pytest.param([BROKEN, OK], 2, "delivered", "", None, id="500, then 200"),
    pytest.param([DOWN, BUSY, UNKNOWN_DEVICE], 3, "rejected", "device_not_found", None, id="503, 429, then rejected"),
    pytest.param([REFUSED, OK], 2, "delivered", "", None, id="connection refused, then 200"),
    pytest.param([LOST, OK], 2, "delivered", "", None, id="in doubt, then 200"),
    pytest.param([LOST, DUPLICATE], 2, "duplicate", "earlier_unique_event", None, id="in doubt, then duplicate"),
    pytest.param([TRUNCATED, OK], 2, "delivered", "", None, id="truncated 200, then 200"),
    pytest.param([UNREADABLE, OK], 2, "delivered", "", None, id="unreadable 200, then 200"),
    pytest.param([ENDLESS], 1, "in_doubt", "answer_too_long", None, id="endless 200 is not resent"),
    pytest.param([ENDLESS_PAGE], 1, "in_doubt", "not_adjust", NotAdjust, id="endless web page"),
    pytest.param([TRUNCATED_502, OK], 2, "delivered", "", None, id="truncated 502, then 200"),
    pytest.param([TRUNCATED_400], 1, "in_doubt", "no_answer", None, id="truncated 400 is not resent"),
    pytest.param([Answer(201, "OK")], 1, "in_doubt", "http_201", None, id="201 is not resent"),
    pytest.param([BAD_GATEWAY, OK], 2, "delivered", "", None, id="502, then 200"),
    pytest.param([BAD_GATEWAY] * 7, 2, "in_doubt", "too_many_resends", AdjustUnreachable, id="502 for ever"),
    pytest.param([BAD_GATEWAY, FIREWALL], 2, "in_doubt", "not_adjust", NotAdjust, id="502, then a firewall"),
    pytest.param([WRONG_TOKEN], 1, "held", "not_authorized", DeliveryHalted, id="wrong token"),
    pytest.param([ACCEPTED], 1, "in_doubt", "wrong_s2s_token", DeliveryHalted, id="202"),
    pytest.param([Answer(202)], 1, "in_doubt", "accepted_not_recorded", DeliveryHalted, id="202 without a word"),
    pytest.param([LOST, WRONG_TOKEN], 2, "in_doubt", "not_authorized", DeliveryHalted, id="in doubt, then wrong token"),
    pytest.param([Answer(302)], 1, "held", "redirected", NotAdjust, id="redirect"),
    pytest.param([Answer(407)], 1, "held", "proxy_not_authorized", NotAdjust, id="proxy that wants credentials"),
    pytest.param([Answer(404)], 1, "held", "not_adjust", NotAdjust, id="wrong endpoint"),
    pytest.param([FIREWALL], 1, "held", "not_adjust", NotAdjust, id="firewall"),
    pytest.param([Answer(401)], 1, "held", "not_adjust", NotAdjust, id="401 without a word"),
    pytest.param([Answer(403, '{"message": "Forbidden"}')], 1, "held", "not_adjust", NotAdjust, id="API gateway"),
    pytest.param([Answer(200, "<html>")], 1, "in_doubt", "not_adjust", NotAdjust, id="web page"),
    pytest.param([Answer(200, '{"ok": false}')], 1, "in_doubt", "not_adjust", NotAdjust, id="200 in other words"),
    pytest.param([Answer(204)], 1, "in_doubt", "not_adjust", NotAdjust, id="204"),
    pytest.param([BAD_CERTIFICATE], 1, "held", "tls_refused", DeliveryHalted, id="certificate"),
    pytest.param([BROKEN] * 7, 7, "held", "http_500", AdjustUnreachable, id="500 for ever"),
    pytest.param([REFUSED] * 7, 7, "held", "connection_failed", AdjustUnreachable, id="refused for ever"),
    pytest.param([LOST] * 2, 2, "in_doubt", "too_many_resends", AdjustUnreachable, id="no answer for ever"),
    pytest.param([UNREADABLE, LOST], 2, "in_doubt", "too_many_resends", AdjustUnreachable, id="unreadable, no answer"),
    pytest.param([LOST, DOWN, OK], 3, "delivered", "", None, id="503 to an event that was sent again records nothing"),
    pytest.param(
        [LOST, REFUSED, LOST], 3, "in_doubt", "too_many_resends", AdjustUnreachable, id="no answer, refused, no answer"
    ),
    pytest.param([BAD_STATE], 1, "rejected", "bad_event_state", None, id="refused for its order"),
    pytest.param([LOST, *[BROKEN] * 6], 7, "in_doubt", "http_500", AdjustUnreachable, id="in doubt, then 500 for ever"),
]


@pytest.mark.parametrize(("answers", "sent", "outcome", "reason", "error"), ENDINGS)
def test_how_an_event_ends(
    answers: list[Answer], sent: int, outcome: str, reason: str, error: type[BaseException] | None
) -> None:
    transport = FakeTransport({1: answers})
    receipts, raised = _run(transport, [job(1, "a"), job(2, "a")])
    first = next(receipt for receipt in receipts if receipt.position == 1)
    assert transport.positions.count(1) == first.attempts == sent
    assert (first.outcome.value, first.reason) == (outcome, reason)
    assert type(raised) is (error or type(None))
    # What comes after it in its lane is sent exactly if it was settled.
    second = next(receipt for receipt in receipts if receipt.position == 2)
    settled = outcome in {"delivered", "duplicate", "rejected"}
    assert (second.outcome is Outcome.DELIVERED, 2 in transport.positions) == (settled, settled)
    assert len(receipts) == 2
    if not settled:
        assert (second.outcome, second.reason, second.attempts) == (Outcome.HELD, "lane_held", 0)


@pytest.mark.parametrize("max_resends", [0, 1, 3])
@pytest.mark.parametrize("answer", [LOST, TRUNCATED, UNREADABLE], ids=["no answer", "truncated", "unreadable"])
def test_an_event_in_doubt_is_sent_again_as_often_as_allowed(answer: Answer, max_resends: int) -> None:
    transport = FakeTransport({2: [answer] * 9})
    receipts, error = _run(transport, [job(1, "b"), job(2, "a"), job(3, "a"), job(4, "b")], max_resends=max_resends)
    assert by_outcome(receipts) == {"in_doubt": [2], "held": [3], "delivered": [1, 4]}
    assert transport.positions.count(2) == max_resends + 1
    assert [receipt.lost_answers for receipt in receipts if receipt.position == 2] == [max_resends + 1]
    assert error is None


def test_an_adjust_that_answers_nothing_from_the_start_leaves_one_event_in_doubt() -> None:
    transport = FakeTransport(otherwise=LOST)
    receipts, error = _run(transport, _devices(500))
    assert isinstance(error, AdjustUnreachable)
    assert "no event could be settled in 2 attempts" in str(error)
    assert transport.positions.count(1) == 2
    assert [receipt.position for receipt in receipts if receipt.reason == "too_many_resends"] == [1]


def test_an_adjust_that_answers_nothing_any_more_ends_the_delivery_after_a_few_events() -> None:
    transport = FakeTransport({1: [OK]}, otherwise=LOST)
    _, error = _run(transport, _devices(500), max_in_flight=2)
    assert isinstance(error, AdjustUnreachable)
    assert "no event could be settled in 8 attempts" in str(error)
    assert len(transport.sent) < 16


@pytest.mark.parametrize(
    "answer",
    [LOST, TRUNCATED, UNREADABLE, BAD_GATEWAY, Answer(504), TRUNCATED_502],
    ids=["no answer", "truncated", "unreadable", "502", "504", "truncated 502"],
)
def test_hold_resends_nothing_in_doubt(answer: Answer) -> None:
    transport = FakeTransport({1: [answer]})
    receipts, error = _run(transport, [job(1, "a"), job(2, "a"), job(3, "b")], on_in_doubt="hold")
    assert by_outcome(receipts) == {"in_doubt": [1], "held": [2], "delivered": [3]}
    assert transport.positions == [1, 3]
    assert error is None


def test_hold_does_not_use_up_every_event_while_nothing_settles() -> None:
    transport = FakeTransport(otherwise=BAD_GATEWAY)
    receipts, error = _run(transport, _devices(50), on_in_doubt="hold")
    assert isinstance(error, AdjustUnreachable)
    assert "no event could be settled in 7 attempts" in str(error)
    assert transport.positions == list(range(1, 8))
    counts = {outcome: len(positions) for outcome, positions in by_outcome(receipts).items()}
    assert counts == {"in_doubt": 7, "held": 43}


def test_hold_survives_the_loss_of_all_connections_at_once() -> None:
    # The first proves the token, then four windows of 4 are lost.
    transport = FakeTransport({position: [LOST] for position in range(2, 18)})
    receipts, error = _run(transport, _devices(40), on_in_doubt="hold", max_in_flight=4)
    assert error is None
    assert len(by_outcome(receipts)["delivered"]) == 24


def test_an_answer_that_is_not_adjusts_stops_the_delivery_and_a_retry_may_continue() -> None:
    page = Answer(
        403, "<html><h1>Blocked</h1> by Device-Of-One-Person's firewall, " + "word " * 60, content_type="text/html"
    )
    transport = FakeTransport({3: [page]})
    receipts, error = _run(transport, _devices(9), max_in_flight=1)
    assert isinstance(error, NotAdjust)
    assert not isinstance(error, FinalError)
    assert (
        "something other than Adjust answered, nothing more was sent (not_adjust; status 403: text/html: Blocked by"
        in str(error)
    )
    assert len(str(error)) < 270
    assert by_outcome(receipts) == {"delivered": [1, 2], "held": [3, 4, 5, 6, 7, 8, 9]}
    assert {receipt.reason for receipt in receipts} == {"", "not_adjust", "stopped"}
    assert transport.positions == [1, 2, 3]


@pytest.mark.parametrize("answer", [BROKEN, REFUSED], ids=["500", "refused"])
def test_hold_still_retries_what_is_surely_not_recorded(answer: Answer) -> None:
    receipts, _ = _run(FakeTransport({1: [answer, OK]}), [job(1, "a")], on_in_doubt="hold")
    assert by_outcome(receipts) == {"delivered": [1]}


@pytest.mark.parametrize(
    ("completion", "outcome", "reason", "slow_down"),
    [
        pytest.param(Completion(1, 200, b"OK"), Outcome.DELIVERED, "", False, id="200"),
        pytest.param(Completion(1, 429), Outcome.RETRY, "http_429", True, id="429"),
        pytest.param(Completion(1, failure=Failure.NOT_SENT), Outcome.RETRY, "connection_failed", False, id="not sent"),
        pytest.param(Completion(1, failure=Failure.TLS), Outcome.HALT, "tls_refused", False, id="TLS"),
        pytest.param(Completion(1, failure=Failure.NO_ANSWER), Outcome.IN_DOUBT, "no_answer", False, id="no answer"),
        pytest.param(Completion(1, 200, failure=Failure.NO_ANSWER), Outcome.IN_DOUBT, "no_answer", False, id="cut 200"),
        pytest.param(Completion(1, 499, failure=Failure.NO_ANSWER), Outcome.IN_DOUBT, "no_answer", False, id="cut 499"),
        pytest.param(Completion(1, 500, failure=Failure.NO_ANSWER), Outcome.RETRY, "http_500", False, id="cut 500"),
        pytest.param(Completion(1, 504, failure=Failure.NO_ANSWER), Outcome.IN_DOUBT, "http_504", False, id="cut 504"),
        pytest.param(Completion(1), Outcome.IN_DOUBT, "http_0", False, id="no status"),
    ],
)
def test_the_verdict_on_an_answer_or_on_the_lack_of_one(
    completion: Completion, outcome: Outcome, reason: str, slow_down: bool
) -> None:
    verdict = judge(completion)
    assert (verdict.outcome, verdict.reason, verdict.slow_down) == (outcome, reason, slow_down)
    assert verdict.http_status == (completion.status or (None if completion.failure else 0))


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_waits_between_attempts_double() -> None:
    transport = FakeTransport({1: [BROKEN] * 6})
    _run(transport, [job(1, "a")])
    times = transport.times_of(1)
    waits = [later - earlier - ANSWER_SECONDS for earlier, later in itertools.pairwise(times)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_waits_grow_no_longer_than_the_longest() -> None:
    transport = FakeTransport({1: [BROKEN] * 5})
    _run(transport, [job(1, "a")], retries=Retries(first_wait=1, longest_wait=3, jitter=lambda: 1.0))
    waits = [later - earlier - ANSWER_SECONDS for earlier, later in itertools.pairwise(transport.times_of(1))]
    assert waits == [1, 2, 3, 3, 3]


@given(st.integers(1, 100), st.randoms(use_true_random=False))
def test_jitter_is_full(attempts: int, chance: random.Random) -> None:
    retries = Retries(jitter=chance.random)
    assert 0 <= retries.wait(attempts) <= min(30.0, 0.5 * 2 ** (attempts - 1))


def test_jitter_spreads_the_waits() -> None:
    waits = [Retries(jitter=random.Random(7).random).wait(3)] + [Retries().wait(3) for _ in range(200)]
    assert min(waits) < 0.5
    assert max(waits) > 1.5


def test_a_wait_of_nothing_is_sent_again_at_once() -> None:
    transport = FakeTransport({1: [BROKEN]})
    _run(transport, [job(1, "a")], retries=Retries(jitter=lambda: 0.0))
    assert transport.times_of(1) == [0.0, ANSWER_SECONDS]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, retry_after="7"),
        Answer(429, retry_after="7"),
        Answer(503, '{"retry_in": 7000}'),
        Answer(408, retry_after="7"),
        Answer(504, retry_after="7"),
    ],
    ids=["500", "429", "503 with retry_in", "408", "504"],
)
def test_retry_after_replaces_the_backoff(answer: Answer) -> None:
    transport = FakeTransport({1: [answer]})
    _run(transport, [job(1, "a")])
    assert transport.times_of(1) == [0.0, ANSWER_SECONDS + 7]


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        pytest.param(Answer(429, retry_after="7"), 7.0, id="429 with a Retry-After"),
        pytest.param(Answer(429), 0.5, id="429 without"),
        pytest.param(Answer(503, retry_after="7"), 0.0, id="a lone 503 concerns its event only"),
        pytest.param(Answer(503), 0.0, id="503 without"),
        pytest.param(Answer(500, retry_after="7"), 0.0, id="500 concerns its event only"),
        pytest.param(REFUSED, 0.0, id="a refused connection"),
    ],
)
def test_what_pauses_every_lane(answer: Answer, pause: float) -> None:
    # The first event proves the token, the second meets the answer, and then nothing starts before the pause ends.
    transport = FakeTransport({2: [answer]})
    receipts, _ = _run(transport, [job(1, "a"), job(2, "b"), job(3, "c")], max_in_flight=1)
    assert sorted(by_outcome(receipts)["delivered"]) == [1, 2, 3]
    assert transport.sent[2][0] - 1000 == 2 * ANSWER_SECONDS + pause


def test_many_503s_pause_every_lane_for_as_long_as_they_say() -> None:
    transport = FakeTransport({position: [Answer(503, retry_after="7")] for position in range(2, 6)})
    receipts, _ = _run(transport, _devices(6), max_in_flight=1)
    assert len(by_outcome(receipts)["delivered"]) == 6
    # The fourth is one too many for noise: the sixth, which nobody refused, waits for its end.
    assert transport.times_of(6)[0] > transport.times_of(5)[0] + 7


@pytest.mark.parametrize("retry_after", ["1", "30"])
def test_one_503_in_a_hundred_costs_no_throughput(retry_after: str) -> None:
    """Each of them holds up its own lane, and no other."""
    refused = range(100, 3001, 100)
    transport = FakeTransport({position: [Answer(503, retry_after=retry_after)] for position in refused})
    _run(transport, _devices(3000), max_in_flight=10)
    first_sends = {position: at - 1000 for at, position in reversed(transport.sent)}
    assert max(first_sends.values()) < 1.02 * 300 * ANSWER_SECONDS
    for position in refused:
        first, second = transport.times_of(position)
        assert second - first >= ANSWER_SECONDS + float(retry_after)


def test_the_lane_of_a_lone_503_waits_as_long_as_it_says() -> None:
    transport = FakeTransport({2: [Answer(503, retry_after="7")]})
    _run(transport, [job(1, "x"), job(2, "a"), job(3, "a"), job(4, "b")], max_in_flight=2)
    assert transport.positions == [1, 2, 4, 2, 3]
    assert transport.times_of(2)[1] == 2 * ANSWER_SECONDS + 7


def test_a_lane_waits_with_its_event_while_other_lanes_continue() -> None:
    transport = FakeTransport({2: [BROKEN, BROKEN]})
    _run(transport, [job(1, "x"), job(2, "a"), job(3, "a"), job(4, "b"), job(5, "b")], max_in_flight=2)
    assert transport.positions == [1, 2, 4, 5, 2, 2, 3]


def test_a_retry_after_above_the_limit_ends_the_run() -> None:
    transport = FakeTransport({1: [Answer(429, retry_after="121")]})
    receipts, error = _run(transport, _devices(3))
    assert isinstance(error, AdjustUnreachable)
    assert error.retry_after == 121
    assert "asks to wait 121 s (status 429); retry then" in str(error)
    assert by_outcome(receipts) == {"held": [1, 2, 3]}
    assert transport.positions == [1]


def test_a_lone_503_that_asks_for_too_long_a_wait_holds_its_lane_only() -> None:
    transport = FakeTransport({2: [Answer(503, retry_after="999")]})
    receipts, error = _run(transport, [job(1, "x"), job(2, "a"), job(3, "a"), job(4, "b")])
    assert error is None
    assert by_outcome(receipts) == {"delivered": [1, 4], "held": [2, 3]}


def test_a_retry_after_at_the_limit_is_waited_for() -> None:
    transport = FakeTransport({1: [Answer(429, retry_after="120")]})
    assert _run(transport, [job(1, "a")])[1] is None
    assert transport.times_of(1) == [0.0, ANSWER_SECONDS + 120]


# --- how fast ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 5, 32])
def test_no_more_requests_are_in_flight_than_allowed(most: int) -> None:
    transport = FakeTransport()
    receipts, _ = _run(transport, _devices(200), max_in_flight=most)
    assert len(receipts) == 200
    assert transport.most_in_flight == most


def test_the_first_event_is_sent_alone_and_then_the_window_opens() -> None:
    transport = FakeTransport()
    _run(transport, _devices(9), max_in_flight=4)
    assert [at - 1000 for at, _ in transport.sent] == [0.0] + [ANSWER_SECONDS] * 4 + [2 * ANSWER_SECONDS] * 4


def test_events_go_one_by_one_until_the_first_is_settled() -> None:
    transport = FakeTransport({1: [DOWN, DOWN], 2: [REFUSED], 3: [LOST]})
    _run(transport, _devices(4), max_in_flight=4)
    starts = transport.sent[:4]
    assert [position for _, position in starts] == [1, 2, 3, 4]
    assert len({at for at, _ in starts}) == 4


@pytest.mark.parametrize(("in_flight", "at_once", "most"), [(1, 32, 32), (64, 32, 2048), (1024, 64, 16_384)])
def test_more_is_read_ahead_with_more_requests_in_flight(in_flight: int, at_once: int, most: int) -> None:
    """A poll looks at every request in flight, so with many of them more rows are read for each poll."""
    read: list[int] = []

    def jobs() -> Iterator[Job]:
        for position in range(1, most + 100):
            read.append(position)
            yield _at(position, "one device")  # so that only one of them is sent

    transport = FakeTransport({1: [Answer(200, '{"status": "OK"}', seconds=10_000)]})
    at_polls = [0]
    transport.on_poll = lambda: at_polls.append(len(read))
    for _ in _delivery(transport, max_in_flight=in_flight).rounds(jobs()):
        if at_polls[-1] == most:
            break
    assert {after - before for before, after in itertools.pairwise(at_polls)} == {at_once}


@pytest.mark.parametrize("rate", [0.5, 1, 2.5, 10, 300])
def test_no_more_events_a_second_than_allowed(rate: float) -> None:
    transport = FakeTransport()
    _run(transport, _devices(40), max_events_per_second=rate)
    starts = [at for at, _ in transport.sent]
    assert starts[-1] - starts[0] >= 38 / rate - 0.05 - 1e-6
    for first, last in itertools.combinations(range(40), 2):
        # Late slots may be made up for, one or as many as fit into 50 ms.
        assert last - first <= rate * (starts[last] - starts[first]) + max(1, 0.05 * rate) + 1 + 1e-6


def test_a_changing_share_of_the_rate_is_respected() -> None:
    """As tasks that share a limit come and go; a part of nothing sends nothing."""
    transport = FakeTransport()

    class Shared(FakeClaims):
        def rate_share(self) -> float:
            return next(part for until, part in parts if transport.clock() < until)

    start = transport.clock()
    parts = [(start + 10, 0.0), (start + 30, 0.25), (start + 35, 0.0), (start + 10_000, 1.0)]
    _run(transport, _devices(400), claims=Shared(batch_size=64), max_events_per_second=20.0)
    starts = [at - start for at, _ in transport.sent]
    assert len(starts) == 400
    assert starts[0] >= 10
    assert sum(10 <= at < 30 for at in starts) == pytest.approx(20 * 5, rel=0.05)
    assert not any(31 <= at < 35 for at in starts)
    assert sum(36 <= at < 46 for at in starts) == pytest.approx(10 * 20, rel=0.05)


def test_retries_count_as_events_of_the_rate() -> None:
    transport = FakeTransport({1: [BROKEN] * 3})
    _run(transport, [job(1, "a")], max_events_per_second=0.25, retries=Retries(jitter=lambda: 0.0))
    starts = transport.times_of(1)
    assert starts[3] - starts[1] == pytest.approx(8, abs=ANSWER_SECONDS)


def _answers(pace: Pace, *statuses: int) -> None:
    for number, status in enumerate(statuses):
        outcome = Outcome.DELIVERED if status == 200 else Outcome.RETRY
        verdict = Verdict(outcome, "", http_status=status, slow_down=status in {429, 503})
        pace.answered(verdict, number / 100, 0)


@pytest.mark.parametrize(
    ("statuses", "window"),
    [
        pytest.param([], 32, id="nothing yet"),
        pytest.param([503], 32, id="a single 503 is noise"),
        pytest.param([503] * 4, 24, id="503s take a quarter"),
        pytest.param([*[200] * 40, 503] * 20, 32, id="2 % of 503 are noise"),
        pytest.param([503, *[200] * 4] * 500, 2, id="20 % of 503 are not"),
        pytest.param([500], 32, id="500 leaves it"),
        pytest.param([429] * 100, 32, id="429 is about the rate"),
        pytest.param([503] * 20, 24, id="a burst counts once"),
        pytest.param([503] * 30, 18, id="the next burst counts again"),
        pytest.param([503] * 4 + [200] * 8, 25, id="eight good answers give one back"),
        pytest.param([503] * 4 + [200] * 400, 32, id="it grows to the most and no further"),
        pytest.param([503] * 1000, 1, id="it never closes"),
    ],
)
def test_the_window_of_requests_in_flight(statuses: list[int], window: int) -> None:
    pace = Pace(32)
    pace.endpoint_ok()
    _answers(pace, *statuses)
    assert pace.window == window


@pytest.mark.parametrize("rate", [1, 7, 100, 1000])
@settings(max_examples=examples(20))
@given(data=st.data())
def test_the_rate_is_kept_although_each_poll_is_late(rate: int, data: st.DataObject) -> None:
    """The loop polls up to 40 ms late; after half a minute the count is exact to 5 %, or one event."""
    pace = Pace(10_000, max_events_per_second=rate)
    late = data.draw(st.lists(st.floats(0.0, 0.04), min_size=1, max_size=20))
    now = sent = looks = 0.0
    while now < 30.0:
        while pace.wait(now) <= 0:
            pace.sent(now)
            sent += 1
        now += pace.wait(now) + late[int(looks) % len(late)]
        looks += 1
    assert abs(sent - 30 * rate) <= max(2, 0.05 * 30 * rate)


def test_until_something_is_proven_the_window_is_one() -> None:
    pace = Pace(32)
    _answers(pace, 200)
    assert pace.window == 1


def test_pauses_do_not_shorten_one_another() -> None:
    pace = Pace(32)
    pace.pause(100.0, 10.0)
    pace.pause(101.0, 1.0)
    assert pace.wait(102.0) == 8.0
    assert pace.wait(111.0) == 0.0


def test_503_shows_in_what_is_reported() -> None:
    transport = FakeTransport({position: [DOWN] for position in range(2, 6)})
    delivery = _delivery(transport, max_in_flight=8)
    assert delivery.slowed_to is None, "Adjust has not answered anything"
    receipts = list(delivery.run(_devices(5)))
    assert len(receipts) == 5
    assert delivery.slowed_to == "6 in flight"


def test_what_a_delivery_waits_for() -> None:
    transport = FakeTransport({2: [Answer(429, retry_after="100")], 3: [LOST], 4: [BROKEN, OK]})
    delivery = _delivery(transport, on_in_doubt="verify", lookup=lambda _: Recorded.NO)
    jobs = [_at(position, f"d{position}") for position in range(1, 5)]
    waited_for = {words for _ in delivery.rounds(jobs) for words in delivery.waiting_for.split(", ")}
    assert waited_for >= {
        "all paused for 100 s as Adjust asked",
        "1 looked up in the Device API",
        "2 waiting for another attempt",
    }
    assert delivery.waiting_for == ""


def test_a_delivery_that_waits_for_the_ledger_says_so() -> None:
    class Slow(FakeClaims):
        def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
            threading.Timer(0.05, (answer := Future()).set_result, [self._claim(jobs)]).start()
            return answer

    transport = FakeTransport()
    delivery = _delivery(transport, claims=Slow())
    assert "waiting for the ledger" in {delivery.waiting_for for _ in delivery.rounds(_devices(1))}


def test_a_round_ends_while_nothing_is_answered() -> None:
    """So that somebody can say how far it is."""
    transport = FakeTransport({1: [Answer(200, '{"status": "OK"}', seconds=60)]})
    times = [transport.clock() for _ in _delivery(transport).rounds(_devices(1))]
    assert max(after - before for before, after in itertools.pairwise(times)) <= 0.5


# --- stops ------------------------------------------------------------------------------------------------------------


def test_a_wrong_token_costs_one_request() -> None:
    transport = FakeTransport(otherwise=WRONG_TOKEN)
    receipts, error = _run(transport, _devices(500))
    assert transport.positions == [1]
    assert isinstance(error, DeliveryHalted)
    assert "Failed to authorize request" in str(error)
    assert "put the app's S2S security token into the connection" in str(error)
    # Nothing more was read than the loop had at hand, and all of it is accounted for.
    assert [receipt.position for receipt in receipts] == list(range(1, 33))
    assert {receipt.outcome for receipt in receipts} == {Outcome.HELD}
    assert receipts[0].reason == "not_authorized"
    assert {receipt.reason for receipt in receipts[1:]} == {"stopped"}


def test_a_wrong_second_token_costs_one_request_too() -> None:
    jobs = [job(position, f"d{position}", token="good01" if position % 2 else "wrong1") for position in range(1, 21)]
    wrong = [each.position for each in jobs if each.event.params["event_token"] == "wrong1"]
    transport = FakeTransport({position: [WRONG_EVENT_TOKEN] for position in wrong})
    receipts, error = _run(transport, jobs)
    assert isinstance(error, DeliveryHalted)
    assert sum(position in wrong for position in transport.positions) == 1
    assert len(receipts) == 20
    # What was in flight beside it is still waited for.
    delivered = by_outcome(receipts)["delivered"]
    assert sorted(delivered) == [position for position in sorted(transport.positions) if position not in wrong]


def test_each_pair_of_tokens_sends_its_first_event_alone() -> None:
    jobs = [job(position, f"d{position}", token=f"token{position % 3}") for position in range(1, 31)]
    transport = FakeTransport()
    receipts, _ = _run(transport, jobs)
    assert len(by_outcome(receipts)["delivered"]) == 30
    starts: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for at, position in transport.sent:
        starts[position % 3].append(at)
    for times in starts.values():
        assert times[1] >= times[0] + ANSWER_SECONDS


def test_a_pair_does_not_wait_while_its_first_event_is_retried() -> None:
    jobs = [job(1, "a"), *[job(position, f"d{position}", token="other1") for position in range(2, 6)]]
    transport = FakeTransport({2: [BROKEN]})
    receipts, _ = _run(transport, jobs)
    assert len(by_outcome(receipts)["delivered"]) == 5
    assert transport.times_of(3)[0] < transport.times_of(2)[1]


def test_nothing_settled_in_all_attempts_means_unreachable() -> None:
    transport = FakeTransport(otherwise=REFUSED)
    receipts, error = _run(transport, _devices(3))
    assert isinstance(error, AdjustUnreachable)
    assert not isinstance(error, DeliveryHalted)
    assert "no event could be settled in 7 attempts, the last ended with connection_failed: Failed" in str(error)
    assert by_outcome(receipts) == {"held": [1, 2, 3]}
    assert Counter(transport.positions) == {1: 7, 2: 6, 3: 6}


def test_one_event_that_never_settles_holds_its_lane_and_stops_nothing_else() -> None:
    transport = FakeTransport({2: [BROKEN] * 7})
    jobs = [
        job(1, "x"),
        job(2, "a", "b"),
        job(3, "a"),
        *[job(position, "c") for position in range(4, 800)],
        job(800, "b"),
    ]
    receipts, error = _run(transport, jobs, max_in_flight=2)
    assert error is None
    outcomes = by_outcome(receipts)
    assert outcomes["held"] == [2, 3, 800]
    assert len(outcomes["delivered"]) == 797
    held = {receipt.position: receipt for receipt in receipts if receipt.outcome is Outcome.HELD}
    assert (held[2].reason, held[2].attempts, held[2].http_status) == ("http_500", 7, 500)
    assert {(held[position].reason, held[position].attempts) for position in (3, 800)} == {("lane_held", 0)}


def test_an_error_of_the_source_comes_after_what_was_read() -> None:
    def source() -> Iterator[Job]:
        yield from _devices(3)
        raise LookupError("the cursor is gone")

    receipts, error = _run(FakeTransport({2: [BROKEN]}), source())
    assert isinstance(error, LookupError)
    assert sorted(by_outcome(receipts)["delivered"]) == [1, 2, 3]


def test_a_stop_is_raised_rather_than_an_error_of_the_source() -> None:
    def source() -> Iterator[Job]:
        yield from _devices(3)
        raise LookupError("the cursor is gone")

    receipts, error = _run(FakeTransport(otherwise=WRONG_TOKEN), source())
    assert isinstance(error, DeliveryHalted)
    assert len(receipts) == 3


def test_receipts_of_rows_that_are_not_events_pass_through() -> None:
    refused = Receipt(Outcome.INVALID, "missing_device_id", "x", 1)
    receipts, _ = _run(FakeTransport(), [refused, job(2, "a")])
    assert receipts[0] is refused
    assert by_outcome(receipts) == {"invalid": [1], "delivered": [2]}


def test_a_stop_from_outside_waits_for_what_is_in_flight_and_holds_the_rest() -> None:
    jobs = [*_devices(5), job(6, "d5"), job(7, "d2")]
    transport = FakeTransport({2: [LOST], 3: [BROKEN]})
    delivery = _delivery(transport, max_in_flight=3)
    reason = DeliveryStopped("the task was asked to end")
    transport.on_poll = lambda: delivery.stop(reason) if transport.clock() >= 1000 + 2 * ANSWER_SECONDS else None
    receipts, raised = until_raised(delivery.run(jobs), DeliveryStopped)
    assert raised is reason
    assert by_outcome(receipts) == {"delivered": [1, 4, 5], "in_doubt": [2], "held": [7, 3, 6]}
    assert {receipt.reason for receipt in receipts if receipt.outcome is Outcome.HELD} == {"stopped"}


def test_the_first_reason_to_stop_is_kept() -> None:
    delivery = _delivery(FakeTransport())
    delivery.stop(DeliveryStopped("first"))
    delivery.stop(DeliveryStopped("second"))
    with pytest.raises(DeliveryStopped, match="first"):
        list(delivery.run([job(1, "a")]))


@pytest.mark.parametrize("most", [1, 2, 4])
def test_only_so_much_is_read_ahead(most: int) -> None:
    read = 0

    def source() -> Iterator[Job]:
        nonlocal read
        for position in range(1, 2001):
            read += 1
            yield job(position, "the one busy device" if position % 2 else f"d{position}")

    transport = FakeTransport()
    furthest = settled = 0
    for _ in _delivery(transport, max_in_flight=most).run(source()):
        settled += 1
        furthest = max(furthest, read - settled)
    assert settled == 2000
    assert furthest <= 32 * most + 1


def test_a_consumer_that_stops_reading_stops_the_sending() -> None:
    transport = FakeTransport()
    receipts = _delivery(transport, max_in_flight=2).run(_devices(100))
    next(receipts)
    assert len(transport.sent) == 1


# --- an event that an earlier try left in doubt -----------------------------------------------------------------------


def _doubtful(position: int, *devices: str) -> Job:
    return replace(job(position, *devices), sent_before=True)


def test_what_an_earlier_try_left_in_doubt_is_sent_again() -> None:
    receipts, _ = _run(FakeTransport(), [_doubtful(1, "a"), job(2, "a")])
    assert by_outcome(receipts) == {"delivered": [1, 2]}


@pytest.mark.parametrize(("lost_answers", "sent"), [(1, 1), (2, 0), (3, 0)])
def test_resends_are_counted_over_the_tries(lost_answers: int, sent: int) -> None:
    transport = FakeTransport({2: [LOST] * 9})
    doubtful = replace(_doubtful(2, "a"), lost_answers=lost_answers)
    receipts, _ = _run(transport, [job(1, "b"), doubtful, job(3, "a")])
    assert by_outcome(receipts) == {"in_doubt": [2], "held": [3], "delivered": [1]}
    assert transport.positions.count(2) == sent
    assert {(each.reason, each.lost_answers) for each in receipts if each.position == 2} == {
        ("too_many_resends", lost_answers + sent)
    }


def test_an_event_that_is_looked_up_is_not_limited_in_resends() -> None:
    """The Device API says that Adjust does not have it, so that sending it again cannot count twice."""
    doubtful = replace(_at(1, "a"), sent_before=True, lost_answers=5)
    receipts, _ = _run(FakeTransport(), [doubtful], on_in_doubt="verify", lookup=lambda _: Recorded.NO)
    assert by_outcome(receipts) == {"delivered": [1]}


REFUSALS = {
    "its answer was lost": (job(1, "a"), [LOST, BAD_STATE], "in_doubt"),
    "an earlier try left it in doubt": (replace(job(1, "a"), sent_before=True), [BAD_STATE], "in_doubt"),
    "an earlier try was killed": (replace(job(1, "a"), after_kill=True), [BAD_STATE], "in_doubt"),
    "it was never sent before": (job(1, "a"), [BAD_STATE], "rejected"),
    "Adjust refuses it for something else": (replace(job(1, "a"), after_kill=True), [UNKNOWN_DEVICE], "rejected"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_for_the_order_tells_nothing_of_an_event_that_may_have_been_sent_before(name: str) -> None:
    given_job, answers, outcome = REFUSALS[name]
    receipts, error = _run(FakeTransport({1: answers}), [given_job, job(2, "a")])
    assert (by_outcome(receipts), error) == ({outcome: [1], "delivered": [2]}, None), "what follows it may go"
    first = receipts[0]
    assert (first.reason == "refused_after_resend") is (outcome == "in_doubt")
    if outcome == "in_doubt":
        assert "check in Adjust" in first.detail
        assert "check in Adjust whether it was recorded" in first.detail


def test_an_event_left_in_doubt_by_an_earlier_try_stays_in_doubt_and_holds_its_lanes() -> None:
    transport = FakeTransport()
    jobs = [job(1, "b"), _doubtful(2, "a", "b"), job(3, "a"), job(4, "b"), job(5, "c")]
    receipts, _ = _run(transport, jobs, on_in_doubt="hold")
    assert by_outcome(receipts) == {"in_doubt": [2], "held": [3, 4], "delivered": [1, 5]}
    assert transport.positions == [1, 5]


# --- looking up what is in doubt --------------------------------------------------------------------------------------

#: What the Device API says while it lags, asked every five seconds for a minute.
LAGS = [Recorded.NO] * 12
NO_ANSWER = DeviceApiError("the Device API answers status 500")


def _at(position: int, *devices: str) -> Job:
    return job(position, *devices, params={"created_at_unix": str(SECOND + position)})


class DeviceAnswers:
    """The Device API's answers about each event, one after the other, and when it was asked."""

    def __init__(self, answers: Mapping[int, Sequence[Recorded | Exception]], clock: Callable[[], float]) -> None:
        self._answers = {position: list(planned) for position, planned in answers.items()}
        self._clock = clock
        self.asked: list[float] = []

    def __call__(self, event: Event) -> Recorded:
        self.asked.append(self._clock() - 1000.0 - ANSWER_SECONDS)
        answer = self._answers[int(event.params["created_at_unix"]) - SECOND].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("records", "sent", "asked_at", "ends"),
    [
        pytest.param([Recorded.YES], 1, [0.0], {"delivered": [1, 2]}, id="Adjust has it"),
        pytest.param([*LAGS[:2], Recorded.YES], 1, [0.0, 5.0, 10.0], {"delivered": [1, 2]}, id="it showed late"),
        pytest.param(
            [*LAGS, Recorded.NO], 2, [5.0 * n for n in range(13)], {"delivered": [1, 2]}, id="it never showed"
        ),
        pytest.param([NO_ANSWER, Recorded.YES], 1, [0.0, 5.0], {"delivered": [1, 2]}, id="an answer came late"),
        pytest.param([Recorded.UNKNOWN], 1, [0.0], {"in_doubt": [1], "held": [2]}, id="it cannot be told"),
        pytest.param(
            [NO_ANSWER] * 13, 1, [5.0 * n for n in range(13)], {"in_doubt": [1], "held": [2]}, id="no answer ever came"
        ),
    ],
)
def test_an_event_in_doubt_is_looked_up_until_it_is_known(
    records: Sequence[Recorded | Exception], sent: int, asked_at: list[float], ends: dict[str, list[int]]
) -> None:
    transport = FakeTransport({1: [LOST]})
    device_api = DeviceAnswers({1: records}, transport.clock)
    receipts, error = _run(transport, [_at(1, "a"), _at(2, "a")], on_in_doubt="verify", lookup=device_api)
    assert (by_outcome(receipts), error) == (ends, None)
    assert transport.positions.count(1) == sent
    assert device_api.asked == asked_at


def test_what_stays_in_doubt_says_why() -> None:
    transport = FakeTransport({1: [LOST]})
    device_api = DeviceAnswers({1: [NO_ANSWER] * 13}, transport.clock)
    (receipt,), _ = _run(transport, [_at(1, "a")], on_in_doubt="verify", lookup=device_api)
    assert (receipt.reason, receipt.detail) == ("not_verified", str(NO_ANSWER))


def test_an_event_that_adjust_lacks_after_its_last_attempt_is_held_not_in_doubt() -> None:
    transport = FakeTransport({1: [LOST]})
    device_api = DeviceAnswers({1: [*LAGS, Recorded.NO]}, transport.clock)
    receipts, _ = _run(transport, [_at(1, "a")], on_in_doubt="verify", lookup=device_api, retries=Retries(attempts=1))
    assert by_outcome(receipts) == {"held": [1]}
    assert transport.positions == [1]


def test_other_lanes_continue_during_a_lookup() -> None:
    transport = FakeTransport({1: [OK], 2: [LOST]})
    device_api = DeviceAnswers({2: [*LAGS, Recorded.NO]}, transport.clock)
    jobs = [_at(1, "a"), _at(2, "a"), _at(3, "b"), _at(4, "a")]
    receipts, _ = _run(transport, jobs, on_in_doubt="verify", lookup=device_api)
    assert [receipt.position for receipt in receipts] == [1, 3, 2, 4]
    assert transport.times_of(2)[1] - transport.times_of(2)[0] == pytest.approx(60.0 + ANSWER_SECONDS)


def test_a_slow_device_api_gets_its_pause_between_two_checks() -> None:
    transport = FakeTransport()
    asked: list[float] = []

    def slow(_: Event) -> Recorded:
        asked.append(transport.clock() - 1000.0)
        transport.pass_time(6)
        return Recorded.NO

    doubtful = replace(_at(1, "a"), sent_before=True)
    receipts, _ = _run(transport, [doubtful], on_in_doubt="verify", lookup=slow)
    assert by_outcome(receipts) == {"delivered": [1]}
    assert asked[:4] == pytest.approx([0.0, 11.0, 22.0, 33.0])


def test_a_pause_that_adjust_asks_for_does_not_hold_up_a_lookup() -> None:
    class LeftInDoubt(FakeClaims):
        def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
            self.batches.append([each.position for each in jobs])
            answer: Future[list[Claim | Receipt]] = Future()
            answer.set_result([Claim(sent_before=each.position == 3) for each in jobs])
            return answer

    transport = FakeTransport({2: [Answer(429, retry_after="100"), OK]})
    device_api = DeviceAnswers({3: [Recorded.YES]}, transport.clock)
    jobs = [_at(position, f"d{position}") for position in (1, 2, 3)]
    claims = LeftInDoubt(batch_size=1)
    receipts, _ = _run(transport, jobs, claims=claims, on_in_doubt="verify", lookup=device_api, max_in_flight=1)
    assert sorted(by_outcome(receipts)["delivered"]) == [1, 2, 3]
    assert device_api.asked[0] < 2
    assert claims.positions == [1, 2, 3], "what was looked up is not claimed again"
    assert 3 not in transport.positions


def test_the_loop_waits_for_no_call_of_the_device_api() -> None:
    """Nothing answers before the test says so, and all that is not in doubt is delivered meanwhile."""
    begun: list[Callable[[], None]] = []
    transport = FakeTransport({position: [LOST] for position in range(2, 34)})
    device_api = DeviceAnswers({position: [Recorded.YES] for position in range(2, 34)}, transport.clock)
    source_ended = threading.Event()

    def jobs() -> Iterator[Job]:
        yield from (_at(position, f"d{position}") for position in range(1, 201))
        source_ended.set()

    delivery = _delivery(transport, lookup=device_api, start_lookup=begun.append, on_in_doubt="verify")
    receipts = []
    for receipt in delivery.run(jobs()):
        receipts.append(receipt)
        if len(receipts) >= 200 - 32:
            assert len(begun) <= 8
            assert source_ended.is_set()
            while begun:
                begun.pop()()
    assert len(by_outcome(receipts)["delivered"]) == 200
    assert {receipt.position for receipt in receipts[-32:]} == set(range(2, 34))


def test_a_stop_ends_the_lookups_at_once() -> None:
    begun: list[Callable[[], None]] = []
    transport = FakeTransport({position: [LOST] for position in range(1, 33)})
    delivery = _delivery(transport, lookup=lambda _: Recorded.YES, start_lookup=begun.append, on_in_doubt="verify")

    def stop_when_all_is_lost() -> None:
        if len(transport.sent) == 40 and transport.clock() > 1003:
            delivery.stop(DeliveryStopped("killed"))

    transport.on_poll = stop_when_all_is_lost
    receipts, error = until_raised(delivery.run(_devices(40)), DeliveryStopped)
    assert str(error) == "killed"
    assert by_outcome(receipts) == {"delivered": list(range(33, 41)), "in_doubt": list(range(1, 33))}
    assert {receipt.reason for receipt in receipts if receipt.outcome is Outcome.IN_DOUBT} == {"stopped"}
    assert len(begun) == 8
    assert transport.clock() < 1005


def test_an_event_that_shares_its_second_gets_an_inconclusive_result() -> None:
    transport = FakeTransport({2: [LOST]})
    device_api = DeviceAnswers({2: [Recorded.YES]}, transport.clock)
    jobs = [_at(1, "a"), replace(_at(2, "a"), shares_second=True)]
    receipts, _ = _run(transport, jobs, on_in_doubt="verify", lookup=device_api)
    assert [(each.outcome.value, each.reason) for each in receipts] == [
        ("delivered", ""),
        ("in_doubt", "shared_second"),
    ]


def test_verify_without_a_device_api_is_refused() -> None:
    with pytest.raises(AdjustConfigurationError, match="needs the API token in the connection"):
        _delivery(FakeTransport(), on_in_doubt="verify")


# --- claims -----------------------------------------------------------------------------------------------------------


class FakeClaims:
    """Lets all events through but those that it has an outcome for."""

    def __init__(self, batch_size: int = 4, answers: dict[int, Outcome] | None = None, fails_at: int = 0) -> None:
        self.batch_size = batch_size
        self._answers = answers or {}
        self._fails_at = fails_at
        self.batches: list[list[int]] = []

    def may_send(self) -> bool:
        return True

    def rate_share(self) -> float:
        return 1.0

    @property
    def positions(self) -> list[int]:
        return [position for batch in self.batches for position in batch]

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        answer: Future[list[Claim | Receipt]] = Future()
        if len(self.batches) + 1 == self._fails_at:
            answer.set_exception(ConnectionError("the database is gone"))
        else:
            answer.set_result(self._claim(jobs))
        return answer

    def _claim(self, jobs: Sequence[Job]) -> list[Claim | Receipt]:
        assert 0 < len(jobs) <= self.batch_size
        self.batches.append([each.position for each in jobs])
        return [
            Receipt(self._answers[each.position], "said_so", each.event.event_id, each.position, event=each.event)
            if each.position in self._answers
            else Claim()
            for each in jobs
        ]


def test_events_are_claimed_together_before_they_are_sent() -> None:
    transport, claims = FakeTransport(), FakeClaims(batch_size=4)
    receipts, _ = _run(transport, _devices(20), claims=claims)
    assert len(by_outcome(receipts)["delivered"]) == 20
    assert claims.positions == list(range(1, 21))
    # The first goes alone, to prove its tokens.
    assert [len(batch) for batch in claims.batches] == [1, 4, 4, 4, 4, 3]


class SlowClaims(FakeClaims):
    """Answers from another thread, as a database does."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self._thread = ThreadPoolExecutor(1)
        self.under_way = 0

    def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
        self.under_way += 1
        assert self.under_way == 1, "one claim at a time, so that what is claimed and unsent stays small"
        return self._thread.submit(self._answer, jobs)

    def _answer(self, jobs: Sequence[Job]) -> list[Claim | Receipt]:
        self.under_way -= 1
        return self._claim(jobs)


def test_what_a_database_takes_its_time_for_is_sent_all_the_same() -> None:
    transport, claims = FakeTransport(), SlowClaims(answers={7: Outcome.SKIPPED})
    jobs = [job(position, f"d{position % 5}") for position in range(1, 101)]
    receipts, error = _run(transport, jobs, claims=claims, max_in_flight=3)
    assert error is None
    assert by_outcome(receipts)["skipped"] == [7]
    assert sorted(transport.positions) == [position for position in range(1, 101) if position != 7]
    for device in range(5):
        assert [each for each in transport.positions if each % 5 == device] == [
            each for each in range(1, 101) if each % 5 == device and each != 7
        ]


def test_a_stop_waits_for_the_claim_that_is_on_its_way() -> None:
    transport, claims = FakeTransport({1: [WRONG_TOKEN]}), SlowClaims()
    receipts, error = _run(transport, _devices(9), claims=claims)
    assert isinstance(error, DeliveryHalted)
    assert by_outcome(receipts) == {"held": list(range(1, 10))}
    assert claims.under_way == 0


class LateAnswer(Future[list[Claim | Receipt]]):
    """Comes only when it is waited for."""

    def done(self) -> bool:
        return False


@pytest.mark.parametrize("fails", [False, True])
def test_a_claim_that_is_on_its_way_when_the_delivery_stops_has_its_events_held(fails: bool) -> None:
    class ClaimStore(FakeClaims):
        def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
            if not self.batches:
                return super().begin_claim(jobs)
            delivery.stop(stop)
            answer = LateAnswer()
            if fails:
                answer.set_exception(ConnectionError("the database is gone"))
            else:
                answer.set_result(self._claim(jobs))
            return answer

    stop = DeliveryStopped("the task was killed")
    transport = FakeTransport()
    delivery = _delivery(transport, claims=ClaimStore(batch_size=3))
    receipts, error = until_raised(delivery.run(_devices(9)), DeliveryStopped)
    assert error is stop
    assert transport.positions == [1]
    assert by_outcome(receipts) == {"delivered": [1], "held": list(range(2, 10))}


def test_what_a_lookup_settled_is_known_before_the_next_of_its_lane_is_claimed() -> None:
    """Else a kill leaves both as sending, and once the next one is in Adjust, the first can never be looked up again."""
    doubtful, following = replace(_at(1, "a"), sent_before=True), _at(2, "a")
    settled: list[int] = []

    class Settled(Sink):
        def take(self, receipt: Receipt) -> None:
            settled.append(receipt.position)

    class ClaimStore(FakeClaims):
        def begin_claim(self, jobs: Sequence[Job]) -> Future[list[Claim | Receipt]]:
            assert settled == ([] if not self.batches else [1])
            return super().begin_claim(jobs)

    recorded = {"lookup": lambda _: Recorded.YES, "on_in_doubt": "verify"}
    delivery = _delivery(FakeTransport(), claims=ClaimStore(), sink=Settled(), **recorded)
    assert len(list(delivery.run([doubtful, following]))) == 2
    assert settled == [1, 2]


def test_a_retry_is_not_claimed_again() -> None:
    claims = FakeClaims()
    _run(FakeTransport({1: [BROKEN, LOST]}), [job(1, "a")], claims=claims)
    assert claims.batches == [[1]]


def test_an_event_known_to_be_delivered_is_not_sent_and_its_lane_continues() -> None:
    transport = FakeTransport()
    claims = FakeClaims(answers={1: Outcome.SKIPPED, 3: Outcome.SKIPPED})
    receipts, _ = _run(transport, [job(1, "a"), job(2, "a"), job(3, "a"), job(4, "b")], claims=claims)
    assert by_outcome(receipts) == {"skipped": [1, 3], "delivered": [2, 4]}
    assert sorted(transport.positions) == [2, 4]


@pytest.mark.parametrize("outcome", [Outcome.HELD, Outcome.IN_DOUBT])
def test_what_is_unresolved_elsewhere_is_not_sent_and_its_lane_waits(outcome: Outcome) -> None:
    transport = FakeTransport()
    jobs = [job(1, "a"), job(2, "a", "b"), job(3, "b"), job(4, "c")]
    receipts, error = _run(transport, jobs, claims=FakeClaims(answers={1: outcome}))
    ends = {receipt.position: receipt.outcome for receipt in receipts}
    assert ends == {1: outcome, 2: Outcome.HELD, 3: Outcome.HELD, 4: Outcome.DELIVERED}
    assert transport.positions == [4]
    assert error is None


def test_a_run_of_which_all_is_delivered_already_sends_nothing() -> None:
    transport = FakeTransport()
    receipts, _ = _run(
        transport, _devices(100), claims=FakeClaims(answers=dict.fromkeys(range(1, 101), Outcome.SKIPPED))
    )
    assert sorted(by_outcome(receipts)["skipped"]) == list(range(1, 101))
    assert transport.sent == []


@pytest.mark.parametrize("fails_at", [1, 2])
def test_what_cannot_be_claimed_is_not_sent(fails_at: int) -> None:
    transport = FakeTransport()
    receipts, error = _run(transport, _devices(9), claims=FakeClaims(fails_at=fails_at))
    assert isinstance(error, LedgerUnavailable)
    assert isinstance(error.__cause__, ConnectionError)
    assert "ConnectionError" in str(error)
    assert "database is gone" not in str(error)
    assert len(transport.sent) == fails_at - 1
    assert len(by_outcome(receipts)["held"]) == 10 - fails_at


def test_claimed_events_that_a_stop_keeps_back_are_held() -> None:
    transport = FakeTransport({2: [WRONG_TOKEN]})
    receipts, error = _run(transport, _devices(9), claims=FakeClaims(batch_size=8), max_in_flight=1)
    assert isinstance(error, DeliveryHalted)
    assert by_outcome(receipts) == {"delivered": [1], "held": [2, 3, 4, 5, 6, 7, 8, 9]}


# --- whatever happens -------------------------------------------------------------------------------------------------

SETTLING = [OK, DUPLICATE, UNKNOWN_DEVICE]
PASSING = [
    BROKEN,
    DOWN,
    BUSY,
    REFUSED,
    LOST,
    TRUNCATED,
    TRUNCATED_502,
    UNREADABLE,
    Answer(429, retry_after="3"),
    Answer(200, '{"status": "OK"}', seconds=20),
    Answer(failure=Failure.NO_ANSWER, seconds=30),
]
UNRESOLVING = [TRUNCATED_400, Answer(204)]
STOPPING = [WRONG_TOKEN, ACCEPTED, WRONG_EVENT_TOKEN, BAD_CERTIFICATE, Answer(503, retry_after="999")]


@settings(max_examples=examples(250))
@given(
    data=st.data(),
    most=st.integers(1, 6),
    rate=st.none() | st.sampled_from([0.5, 3.0, 50.0]),
    on_in_doubt=st.sampled_from(["resend", "hold"]),
    attempts=st.integers(1, 4),
    stopping=st.booleans(),
    batch_size=st.none() | st.integers(1, 5),
)
def test_every_event_has_one_receipt_and_every_lane_its_order(
    data: st.DataObject,
    most: int,
    rate: float | None,
    on_in_doubt: Any,
    attempts: int,
    stopping: bool,
    batch_size: int | None,
) -> None:
    devices = data.draw(
        st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=2, unique=True), min_size=1, max_size=25),
        label="events",
    )
    jobs: list[Job | Receipt] = []
    for position, ids in enumerate(devices, start=1):
        if data.draw(st.integers(0, 9), label="is no event") == 9:
            jobs.append(Receipt(Outcome.INVALID, "missing_device_id", "x", position))
        else:
            jobs.append(job(position, *ids, token=data.draw(st.sampled_from(["token1", "token2"]), label="token")))
    possible = SETTLING * 3 + PASSING + UNRESOLVING + STOPPING * stopping
    answers = {
        position: data.draw(st.lists(st.sampled_from(possible), max_size=5), label="answers")
        for position in range(1, len(jobs) + 1)
    }
    known = [Outcome.SKIPPED, Outcome.SKIPPED, Outcome.HELD, Outcome.IN_DOUBT]
    claimed = data.draw(st.dictionaries(st.integers(1, len(jobs)), st.sampled_from(known), max_size=4), label="claims")
    claims = None if batch_size is None else FakeClaims(batch_size, claimed)
    transport = FakeTransport(answers)
    receipts, error = _run(
        transport,
        jobs,
        claims=claims,
        max_in_flight=most,
        max_events_per_second=rate,
        on_in_doubt=on_in_doubt,
        retries=Retries(attempts=attempts, jitter=lambda: 1.0),
    )
    transport.close()

    assert sorted(receipt.position for receipt in receipts) == list(range(1, len(jobs) + 1))
    summary = DeliverySummary(read=len(jobs))
    for receipt in receipts:
        summary.add(receipt)
    summary.check()
    sent = Counter(transport.positions)
    assert transport.most_in_flight <= most
    for receipt in receipts:
        assert receipt.attempts == sent[receipt.position] <= attempts
        assert receipt.outcome not in {Outcome.RETRY, Outcome.HALT}
        assert receipt.lost_answers <= 2, "an event in doubt was sent again more than once"
    assert error is not None or all(receipt.reason != "stopped" for receipt in receipts)
    outcome = {receipt.position: receipt.outcome for receipt in receipts}
    resolved = {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.SKIPPED}
    if claims is not None:
        assert len(claims.positions) == len(set(claims.positions))
        assert sent.keys() <= set(claims.positions) - claimed.keys()
    lanes: dict[Any, list[int]] = {}
    for each in jobs:
        if isinstance(each, Job):
            for lane in each.event.lanes:
                lanes.setdefault(lane, []).append(each.position)
    for positions in lanes.values():
        in_order = [position for position in transport.positions if position in positions]
        assert in_order == sorted(in_order)
        ends = [outcome[position] in resolved for position in positions]
        assert ends == sorted(ends, reverse=True), "an event overtook an unresolved one of its lane"


def test_the_second_row_with_an_id_is_refused_although_it_could_go_first() -> None:
    """Its lane is free, and the first one's is not: the row that was read first is the event."""
    transport, claims = FakeTransport(), SlowClaims()
    blocked, first, second = job(1, "a"), job(2, "a", event_id="order-1"), job(3, "b", event_id="order-1")
    receipts, _ = _run(transport, [blocked, first, second], claims=claims)
    assert by_outcome(receipts) == {"delivered": [1, 2], "invalid": [3]}
    [refused] = [receipt for receipt in receipts if receipt.position == 3]
    assert refused.reason == "repeated_event_id"
    assert "row 2 " in refused.detail
