"""How a try of a task ended, and why, from the context that Airflow gives to a callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_adjust.s2s import errors

SUCCEEDED, FAILED, SKIPPED, KILLED = "succeeded", "failed", "was skipped", "was killed"
_OURS = frozenset(name for name, value in vars(errors).items() if isinstance(value, type))


def how_it_ended(context: Mapping[str, Any], result: Mapping[str, Any] | None) -> tuple[str, str]:
    """The end of the try, and the reason in one line, empty for a success.

    A try that was killed, or lost its worker, cannot report: Airflow's Dag processor calls the callback for it, with a new
    copy of the task, without an exception and without a final state.
    """
    if exception := context.get("exception"):
        return FAILED, _one_line(exception)
    state = getattr(context["ti"], "state", None)
    # Without the exception, such as in Airflow 3.1's dag.test().
    if state in ("failed", "up_for_retry", "upstream_failed"):
        return FAILED, "The task failed; see the log"
    if state == "skipped":
        return SKIPPED, ""
    if state == "success" or result is not None:
        return SUCCEEDED, ""
    return KILLED, "The try ended without a report: its worker was lost, or the task was killed from outside"


def _one_line(exception: BaseException | str) -> str:
    """The first line of this provider's errors, which contain no personal data; only the type of other exceptions.

    An operator raises its final errors as Airflow's exception without a retry, with the type before the message.
    """
    message = str(exception).partition("\n")[0]
    kind = type(exception).__name__
    if kind in _OURS:
        return f"{kind}: {message}"
    if message.partition(":")[0] in _OURS:
        return message
    return f"{kind}; see the log"
