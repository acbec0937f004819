"""How an event in doubt is looked up: when an answer is believed, and when it is asked for again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from s2s_case import SECOND, pending

from airflow_provider_adjust.adjust_api.device import DeviceApiError
from airflow_provider_adjust.s2s import Event, EventParser, LookupPolicy, Route
from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.delivery import lookup
from airflow_provider_adjust.s2s.delivery.lanes import Pending
from airflow_provider_adjust.s2s.delivery.lookup import DeviceLookup, LookupResult
from airflow_provider_adjust.s2s.transports import Target

#: When the event came to be in doubt, in monotonic seconds.
BEGIN = 1000.0
CANNOT_TELL = "the Device API cannot tell whether Adjust has it"


def _pending(*devices: str, second: int = SECOND) -> Pending:
    return pending(1, *devices, params={"created_at_unix": str(second)})


def _device_lookup(*answers: Recorded | Exception) -> DeviceLookup:
    """The Device API's answers, one after the other; to be asked more often than that is a failure."""
    planned = iter(answers)

    def lookup(_: Event) -> Recorded:
        answer = next(planned)
        if isinstance(answer, Exception):
            raise answer
        return answer

    route = Route(EventParser(), Target("https://s2s.adjust.test/event"), lookup)
    return DeviceLookup({None: route}, LookupPolicy())


@pytest.mark.parametrize(
    ("answer", "seconds", "finding"),
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
    answer: Recorded | Exception, seconds: float, finding: LookupResult
) -> None:
    device_lookup, doubtful = _device_lookup(answer), _pending("a")
    device_lookup.begin(doubtful, BEGIN)
    assert device_lookup.check(doubtful, BEGIN + seconds) == finding


def test_a_result_says_that_it_cannot_be_told() -> None:
    assert LookupResult(Recorded.UNKNOWN).detail == CANNOT_TELL


def test_a_defect_is_no_answer() -> None:
    device_lookup, doubtful = _device_lookup(KeyError("created_at_unix")), _pending("a")
    device_lookup.begin(doubtful, BEGIN)
    with pytest.raises(KeyError):
        device_lookup.check(doubtful, BEGIN)


@pytest.mark.parametrize(
    ("delivered", "doubtful", "found"),
    [
        pytest.param([_pending("a")], _pending("a"), Recorded.UNKNOWN, id="the same second"),
        pytest.param([_pending("a", "b")], _pending("b"), Recorded.UNKNOWN, id="the same second in one of its lanes"),
        pytest.param(
            [_pending("a")], _pending("b", "a"), Recorded.UNKNOWN, id="the same second in another of its lanes"
        ),
        pytest.param([_pending("a")], _pending("a", second=SECOND + 1), Recorded.YES, id="a later second"),
        pytest.param([_pending("b")], _pending("a"), Recorded.YES, id="another device"),
        pytest.param(
            [_pending("a"), _pending("a", second=SECOND + 1)], _pending("a"), Recorded.YES, id="the last one counts"
        ),
    ],
)
def test_a_predecessor_of_the_same_second_could_pass_for_the_event(
    delivered: Iterable[Pending], doubtful: Pending, found: Recorded
) -> None:
    device_lookup = _device_lookup(Recorded.YES)
    for each in delivered:
        device_lookup.remember(each)
    device_lookup.begin(doubtful, BEGIN)
    assert device_lookup.check(doubtful, BEGIN).recorded is found


def _results_of(device_lookup: DeviceLookup, *devices: str) -> Iterator[Recorded]:
    for device in devices:
        doubtful = _pending(device)
        device_lookup.begin(doubtful, BEGIN)
        yield device_lookup.check(doubtful, BEGIN).recorded


def test_the_lanes_that_were_delivered_longest_ago_are_forgotten_first(monkeypatch: Any) -> None:
    monkeypatch.setattr(lookup, "_REMEMBERED_LANES", 2)
    memory = _device_lookup(Recorded.YES)
    for device in ("a", "b", "a", "c"):
        memory.remember(_pending(device))
    assert list(_results_of(memory, "a", "b", "c")) == [Recorded.UNKNOWN, Recorded.YES, Recorded.UNKNOWN]
