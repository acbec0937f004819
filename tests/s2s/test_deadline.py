"""A call that may never end is waited for so long, and no longer."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_adjust.s2s.transports.base import call_with_deadline


def test_what_a_call_returns_is_returned() -> None:
    assert call_with_deadline(60, lambda: "an answer") == "an answer"
    assert call_with_deadline(60, lambda: None) is None


@pytest.mark.parametrize(
    "error", [KeyError("x"), KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__
)
def test_what_a_call_raises_is_raised(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        call_with_deadline(60, fail)
    assert raised.value is error


def test_a_call_that_does_not_end_is_given_up_and_keeps_no_process_from_ending() -> None:
    begun, over, callers = threading.Event(), threading.Event(), []

    def wait() -> None:
        callers.append(threading.current_thread())
        begun.set()
        over.wait()

    with pytest.raises(TimeoutError, match=r"^no end within 0\.05 s$"):
        call_with_deadline(0.05, wait)
    assert begun.wait(60)
    over.set()
    assert callers[0].daemon
