"""How an event in doubt is looked up: when an answer is believed, when it is asked for again, and what bounds it all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from s2s_case import SECOND, pending

from airflow_provider_adjust.adjust_api.device import DeviceApiError
from airflow_provider_adjust.s2s import Event, EventParser, LookupPolicy, Route
from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.delivery.lanes import Pending
from airflow_provider_adjust.s2s.delivery.lookup import DeviceLookup, LookupResult
from airflow_provider_adjust.s2s.delivery.route import Lookup
from airflow_provider_adjust.s2s.transports import Target

#: When the event came to be in doubt, in monotonic seconds.
BEGIN = 1000.0


class Calls:
    """Runs the calls when the test says so, and keeps the time."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.begun: list[Callable[[], None]] = []
        self.most_at_once = 0

    def clock(self) -> float:
        return self.now

    def start(self, work: Callable[[], None]) -> None:
        self.begun.append(work)
        self.most_at_once = max(self.most_at_once, len(self.begun))

    def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.begun.pop(0)()


def _event(device: str = "a", *, shares_second: bool = False) -> Pending:
    one = pending(1, device, params={"created_at_unix": str(SECOND)})
    return Pending(replace(one.job, shares_second=shares_second))


def _device_lookup(lookup: Lookup | None, calls: Calls, **policy: float) -> DeviceLookup:
    route = Route(EventParser(), Target("https://s2s.adjust.test/event"), lookup)
    return DeviceLookup({None: route}, LookupPolicy(**policy), start=calls.start)  # type: ignore[arg-type]


def _always(answer: Recorded | Exception) -> Lookup:
    def lookup(_: Event) -> Recorded:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return lookup


def _results(device_lookup: DeviceLookup, calls: Calls) -> list[LookupResult]:
    return [result for _, result in device_lookup.results(calls.clock)]


@pytest.mark.parametrize(
    ("answer", "seconds", "expected"),
    [
        (Recorded.YES, 0.0, LookupResult(Recorded.YES)),
        (Recorded.UNKNOWN, 0.0, LookupResult(Recorded.UNKNOWN)),
        # The Device API lags, so that "not yet" looks like "never".
        (Recorded.NO, 0.0, LookupResult(Recorded.NO, check_again_in=5.0)),
        (Recorded.NO, 54.0, LookupResult(Recorded.NO, check_again_in=5.0)),
        (Recorded.NO, 58.0, LookupResult(Recorded.NO, check_again_in=2.0)),
        (Recorded.NO, 60.0, LookupResult(Recorded.NO)),
        (Recorded.NO, 99.0, LookupResult(Recorded.NO)),
        # No answer may become one.
        (DeviceApiError("no answer"), 0.0, LookupResult(Recorded.UNKNOWN, "no answer", check_again_in=5.0)),
        (DeviceApiError("no answer"), 59.0, LookupResult(Recorded.UNKNOWN, "no answer", check_again_in=5.0)),
        (DeviceApiError("no answer"), 60.0, LookupResult(Recorded.UNKNOWN, "no answer")),
    ],
    ids=str,
)
def test_what_an_answer_means_so_many_seconds_later(
    answer: Recorded | Exception, seconds: float, expected: LookupResult
) -> None:
    device_lookup, doubtful = _device_lookup(None, Calls()), _event()
    device_lookup.begin(doubtful, BEGIN)
    assert device_lookup.judge(doubtful, answer, BEGIN + seconds) == expected


@pytest.mark.parametrize(
    ("answer", "recorded", "reason"),
    [
        (Recorded.YES, Recorded.UNKNOWN, "shared_second"),
        (Recorded.NO, Recorded.NO, "not_verified"),  # an earlier time is neither of them
        (Recorded.UNKNOWN, Recorded.UNKNOWN, "not_verified"),
    ],
)
def test_another_event_of_the_same_lane_and_second_could_pass_for_it(
    answer: Recorded, recorded: Recorded, reason: str
) -> None:
    calls = Calls()
    device_lookup = _device_lookup(_always(answer), calls, wait=0.0)
    device_lookup.begin(_event(shares_second=True), BEGIN)
    assert _results(device_lookup, calls) == []
    calls.end()
    (result,) = _results(device_lookup, calls)
    assert (result.recorded, result.reason) == (recorded, reason)
    assert ("another row has the same device" in result.detail) is (reason == "shared_second")


def test_a_result_reports_that_it_is_inconclusive() -> None:
    assert LookupResult(Recorded.UNKNOWN).detail == "the Device API cannot tell whether Adjust has it"


def test_a_route_without_a_device_api_gives_no_result() -> None:
    calls = Calls()
    device_lookup = _device_lookup(None, calls)
    device_lookup.begin(_event(), BEGIN)
    _results(device_lookup, calls)
    calls.end()
    assert _results(device_lookup, calls) == [LookupResult(Recorded.UNKNOWN)]


def test_a_defect_is_not_an_answer() -> None:
    calls = Calls()
    device_lookup = _device_lookup(_always(KeyError("created_at_unix")), calls)
    device_lookup.begin(_event(), BEGIN)
    _results(device_lookup, calls)
    calls.end()
    with pytest.raises(KeyError):
        _results(device_lookup, calls)


def test_the_loop_never_waits_for_a_call() -> None:
    calls = Calls()
    device_lookup = _device_lookup(_always(Recorded.YES), calls)
    assert device_lookup.next_due(BEGIN) is None
    device_lookup.begin(_event(), BEGIN)
    assert device_lookup.next_due(BEGIN) == BEGIN
    assert _results(device_lookup, calls) == []
    due = device_lookup.next_due(BEGIN)
    assert due is not None
    assert BEGIN < due <= BEGIN + 0.1, "its end is soon seen"
    calls.end()
    assert _results(device_lookup, calls) == [LookupResult(Recorded.YES)]
    assert (device_lookup.next_due(BEGIN), list(device_lookup)) == (None, [])


def test_few_calls_are_under_way_at_once_and_the_next_begin_as_they_end() -> None:
    calls, found = Calls(), 0
    device_lookup = _device_lookup(_always(Recorded.YES), calls, at_once=3)
    for number in range(10):
        device_lookup.begin(_event(f"d{number}"), BEGIN)
    while len(list(device_lookup)):
        found += len(_results(device_lookup, calls))
        calls.end(min(2, len(calls.begun)))
    assert (found, calls.most_at_once) == (10, 3)


def test_an_event_is_given_up_however_slow_the_device_api_is() -> None:
    """Its call keeps its place until it ends, and its answer counts no more."""
    calls = Calls()
    device_lookup = _device_lookup(_always(Recorded.YES), calls, at_once=2, longest=120.0)
    for number in range(4):
        device_lookup.begin(_event(f"d{number}"), BEGIN + number)
    assert _results(device_lookup, calls) == []
    calls.now = BEGIN + 121.5
    slow = LookupResult(Recorded.UNKNOWN, "the Device API gave no answer in time")
    assert _results(device_lookup, calls) == [slow, slow]
    assert len(calls.begun) == 2
    calls.end(2)
    assert _results(device_lookup, calls) == []
    calls.end(2)
    assert _results(device_lookup, calls) == [LookupResult(Recorded.YES)] * 2


def test_what_was_given_up_before_its_turn_is_not_asked_for() -> None:
    calls = Calls()
    device_lookup = _device_lookup(_always(Recorded.YES), calls, at_once=1)
    for number in range(3):
        device_lookup.begin(_event(f"d{number}"), BEGIN)
    _results(device_lookup, calls)
    calls.now += 1000
    assert len(_results(device_lookup, calls)) == 3
    calls.end()
    assert _results(device_lookup, calls) == []
    assert calls.begun == []


def test_by_itself_a_call_runs_in_a_thread_that_does_not_keep_the_process_from_ending() -> None:
    threads: list[threading.Thread] = []

    def lookup(_: Event) -> Recorded:
        threads.append(threading.current_thread())
        return Recorded.YES

    route = Route(EventParser(), Target("https://s2s.adjust.test/event"), lookup)
    device_lookup = DeviceLookup({None: route}, LookupPolicy())
    device_lookup.begin(_event(), BEGIN)
    found: list[object] = []
    while not found:
        found.extend(device_lookup.results(lambda: BEGIN))
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon
