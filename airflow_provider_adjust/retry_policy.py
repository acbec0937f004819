"""AdjustRetryPolicy: no retry if it cannot help, and retries after the wait that Adjust asked for.

Airflow has retry policies since 3.3. On older versions the operators fail such tasks themselves, and the task's
``retry_delay`` sets the wait.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from airflow_provider_adjust.s2s.errors import DeliveryStopped, FinalError


class AdjustRetryPolicy(RetryPolicy):
    """The default retry policy of the sending operators, on Airflow 3.3 and newer.

    It does not retry errors that a retry cannot help, such as a wrong token, and waits as long as Adjust asked for. For all
    other errors it decides as Airflow does.

    .. code-block:: python

        from airflow.sdk import task

        from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
        from airflow_provider_adjust.retry_policy import AdjustRetryPolicy


        @task(retries=3, retry_policy=AdjustRetryPolicy())
        def booked(ds=None):
            return AdjustS2SHook().booked_events(["f0ob4r"], ds)
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        if isinstance(exception, FinalError):
            return RetryDecision.fail(f"{type(exception).__name__}: a retry would fail in the same way")
        if isinstance(exception, DeliveryStopped) and exception.retry_after is not None:
            return RetryDecision.retry(
                delay=timedelta(seconds=exception.retry_after), reason="Adjust asked to wait that long"
            )
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> AdjustRetryPolicy:
        return cls()
