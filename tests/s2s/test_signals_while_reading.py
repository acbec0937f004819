"""An error of a signal handler while a row is read ends the task: the row is not at fault."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from s2s_case import parse, row

from airflow_provider_adjust.s2s import RowOptions
from airflow_provider_adjust.s2s.account.rejected import rejected_line
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.intake import Intake, row_digest
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.redaction import quote, row_repr, safe_repr


class Killed(Exception):
    """What a user's own handler raises."""


class Timeout(BaseException):
    """As Airflow's own timeout of a task is one."""


class Slow:
    """A value; while it is read, the signal comes."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return "5"

    __repr__ = __str__


class SlowText(str):
    """A text; while it is read, the signal comes."""

    def strip(self, *_: Any) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return str(self)


@pytest.fixture(params=[Killed, KeyboardInterrupt, Timeout, TimeoutError], ids=lambda kind: kind.__name__)
def raised(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    def handle(*_: Any) -> None:
        raise request.param("the signal")

    before = signal.signal(signal.SIGUSR1, handle)
    yield request.param
    signal.signal(signal.SIGUSR1, before)


READING: dict[str, Callable[[], Any]] = {
    "a device id": lambda: parse(gps_adid=SlowText("x")),
    "an address": lambda: parse(ip_address=Slow()),
    "an optional value that may be left out": lambda: parse({"on_bad_optional": "leave_out"}, ip_address=Slow()),
    "the id": lambda: parse({"id_field": "order_id"}, order_id=SlowText("x")),
    "an intake of rows": lambda: list(Intake({None: EventParser()}).sorted([row(gps_adid=SlowText("x"))])),
    "a row for a message": lambda: quote(Slow()),
    "a value for a message": lambda: safe_repr([Slow()]),
    "a row for a digest": lambda: row_repr({"a": Slow()}),
    "a row's digest": lambda: row_digest({"a": Slow()}),
    "a rejected line": lambda: rejected_line(Receipt(Outcome.INVALID, "x", "o-1", 1, row={"a": Slow()})),
}


@pytest.mark.parametrize("name", READING)
def test_an_exception_of_a_signals_handler_is_passed_on(raised: type[BaseException], name: str) -> None:
    with pytest.raises(raised, match="the signal"):
        READING[name]()


class Odd:
    """A value that fails in a way of its own."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __str__(self) -> str:
        raise self._error


def test_a_value_that_fails_refuses_its_own_row_only() -> None:
    for error in (ValueError, KeyError, ZeroDivisionError, RuntimeError, RecursionError, TypeError, AttributeError):
        with pytest.raises(InvalidEvent) as refused:
            EventParser(RowOptions()).parse(row(ip_address=Odd(error("x"))))
        assert refused.value.reason == "unreadable_row", error
