"""The common part of the triggers: poll until the condition is met, or until the timeout."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_adjust.adjust_api.device import DeviceApiError, DeviceApiRefused
from airflow_provider_adjust.adjust_api.errors import ReportUnavailable
from airflow_provider_adjust.reconcile.comparison import excerpt
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: The event that a trigger sends to its sensor: a status, a message and a value.
TriggerPayload = dict[str, Any]


class WaitingTrigger(BaseTrigger):
    """Base of the triggers. A subclass defines the poll.

    The arguments hold the complete state, so a restarted triggerer continues the wait. Airflow stores them in its database, so
    they name the connection and contain no secret.

    :param poke_interval: seconds between two polls.
    :param until: when to give up, in seconds since the epoch.
    """

    #: Names of the arguments that ``serialize`` stores.
    arguments: ClassVar[tuple[str, ...]] = ("poke_interval", "until")

    def __init__(self, *, poke_interval: float, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poke_interval = poke_interval
        self.until = until

    @abstractmethod
    async def poll(self) -> PollResult | TriggerPayload:
        """Poll once. A payload ends the wait."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in self.arguments},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]

    async def _wait(self) -> TriggerPayload:
        while True:
            # The worker has just polled. After a restart, one more wait does no harm.
            await asyncio.sleep(max(0.0, min(self.poke_interval, self.until - time.time())))
            result = await self.poll()
            if not isinstance(result, PollResult):
                return result
            if result.is_done:
                return {"status": "done", "message": excerpt(result.message), "value": result.value}
            self.log.info("%s", result.message)
            if time.time() >= self.until:
                return {"status": "timeout", "message": excerpt(result.message), "value": None}


class AdjustWaitingTrigger(WaitingTrigger):
    """Base of the triggers that poll Adjust.

    :param adjust_conn_id: the ``adjust`` connection.
    :param app_token: overrides the connection's.

    The other arguments are those of :class:`WaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = ("adjust_conn_id", "app_token", *WaitingTrigger.arguments)

    def __init__(self, *, adjust_conn_id: str, app_token: str | None, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token

    @abstractmethod
    async def poll_once(self) -> PollResult:
        """Poll Adjust once.

        :raises AdjustConfigurationError, DeviceApiRefused: the next poll would fail the same way.
        :raises ReportUnavailable, DeviceApiError: Adjust gave no answer this time.
        """

    async def poll(self) -> PollResult | TriggerPayload:
        try:
            return await self.poll_once()
        except (AdjustConfigurationError, DeviceApiRefused) as error:
            return {"status": "refused", "message": f"{type(error).__name__}: {error}", "value": None}
        except (ReportUnavailable, DeviceApiError) as error:
            return PollResult(False, str(error))
