"""How an event in doubt is looked up: when an answer is believed, and when it is asked for again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from s2s_case import SECOND, job

from airflow_provider_adjust.adjust_api.device import DeviceApiError
from airflow_provider_adjust.s2s.answers.outcome import Recorded
from airflow_provider_adjust.s2s.delivery import lookup
from airflow_provider_adjust.s2s.delivery.lookup import DeviceLookup, LookupResult
from airflow_provider_adjust.s2s.events.job import Job

#: When the event came to be in doubt, in monotonic seconds.
BEGIN = 1000.0
CANNOT_TELL = "the Device API cannot tell whether Adjust has it"


def _job(*devices: str, second: int = SECOND) -> Job:
    return job(1, *devices, params={"created_at_unix": str(second)})


def _verification(*answers: Recorded | Exception) -> DeviceLookup:
    """The Device API's answers, one after the other; to be asked more often than that is a failure."""
    planned = iter(answers)

    def lookup(_: Job) -> Recorded:
        answer = next(planned)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return DeviceLookup(lookup)


@pytest.mark.parametrize(
    ("answer", "seconds", "finding"),
    [
        (Recorded.YES, 0.0, LookupResult(Recorded.YES)),
        (Recorded.UNKNOWN, 0.0, LookupResult(Recorded.UNKNOWN)),
        # The Device API lags, so that "not yet" looks like "never".
        (Recorded.NO, 0.0, LookupResult(Recorded.NO, look_again_in=5.0)),
        (Recorded.NO, 54.0, LookupResult(Recorded.NO, look_again_in=5.0)),
        (Recorded.NO, 58.0, LookupResult(Recorded.NO, look_again_in=2.0)),
        (Recorded.NO, 60.0, LookupResult(Recorded.NO)),
        (Recorded.NO, 99.0, LookupResult(Recorded.NO)),
        # No answer may become one.
        (DeviceApiError("no answer"), 0.0, LookupResult(Recorded.UNKNOWN, "no answer", look_again_in=5.0)),
        (DeviceApiError("no answer"), 59.0, LookupResult(Recorded.UNKNOWN, "no answer", look_again_in=5.0)),
        (DeviceApiError("no answer"), 60.0, LookupResult(Recorded.UNKNOWN, "no answer")),
    ],
    ids=str,
)
def test_what_an_answer_means_so_many_seconds_later(
    answer: Recorded | Exception, seconds: float, finding: LookupResult
) -> None:
    verification, doubtful = _verification(answer), _job("a")
    verification.begin(doubtful, BEGIN)
    assert verification.look(doubtful, BEGIN + seconds) == finding


def test_what_cannot_be_told_is_said_in_words() -> None:
    assert LookupResult(Recorded.UNKNOWN).detail == CANNOT_TELL


def test_a_defect_is_no_answer() -> None:
    verification, doubtful = _verification(KeyError("created_at_unix")), _job("a")
    verification.begin(doubtful, BEGIN)
    with pytest.raises(KeyError):
        verification.look(doubtful, BEGIN)


@pytest.mark.parametrize(
    ("delivered", "doubtful", "found"),
    [
        pytest.param([_job("a")], _job("a"), Recorded.UNKNOWN, id="the same second"),
        pytest.param([_job("a", "b")], _job("b"), Recorded.UNKNOWN, id="the same second in one of its lanes"),
        pytest.param([_job("a")], _job("b", "a"), Recorded.UNKNOWN, id="the same second in another of its lanes"),
        pytest.param([_job("a")], _job("a", second=SECOND + 1), Recorded.YES, id="a later second"),
        pytest.param([_job("b")], _job("a"), Recorded.YES, id="another device"),
        pytest.param([_job("a"), _job("a", second=SECOND + 1)], _job("a"), Recorded.YES, id="the last one counts"),
    ],
)
def test_a_predecessor_of_the_same_second_could_pass_for_the_event(
    delivered: Iterable[Job], doubtful: Job, found: Recorded
) -> None:
    verification = _verification(Recorded.YES)
    for each in delivered:
        verification.remember(each)
    verification.begin(doubtful, BEGIN)
    assert verification.look(doubtful, BEGIN).recorded is found


def _looked_up(verification: DeviceLookup, *devices: str) -> Iterator[Recorded]:
    for device in devices:
        doubtful = _job(device)
        verification.begin(doubtful, BEGIN)
        yield verification.look(doubtful, BEGIN).recorded


def test_the_lanes_that_were_delivered_longest_ago_are_forgotten_first(monkeypatch: Any) -> None:
    monkeypatch.setattr(lookup, "_REMEMBERED_LANES", 2)
    memory = _verification(Recorded.YES)
    for device in ("a", "b", "a", "c"):
        memory.remember(_job(device))
    assert list(_looked_up(memory, "a", "b", "c")) == [Recorded.UNKNOWN, Recorded.YES, Recorded.UNKNOWN]
