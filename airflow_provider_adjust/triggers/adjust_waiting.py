"""What the triggers share: look, wait, look again, until it is there or the time is over."""

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
from airflow_provider_adjust.reconcile.poll import Look
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


class AdjustWaitingTrigger(BaseTrigger):
    """Base of the triggers; a subclass says what to look at.

    All that it knows is in its arguments, so a triggerer that is started again goes on where the last one stopped. They
    are in Airflow's database and name the connection, never what is secret in it.

    :param adjust_conn_id: the ``adjust`` connection.
    :param app_token: takes the place of the connection's.
    :param poke_interval: seconds between two looks.
    :param until: when to give up, in seconds since the epoch.
    """

    #: Names of the arguments that make the trigger anew.
    arguments: ClassVar[tuple[str, ...]] = ("adjust_conn_id", "app_token", "poke_interval", "until")

    def __init__(self, *, adjust_conn_id: str, app_token: str | None, poke_interval: float, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token
        self.poke_interval = poke_interval
        self.until = until

    @abstractmethod
    async def look(self) -> Look:
        """Look at Adjust once.

        :raises AdjustConfigurationError, DeviceApiRefused: looking again would end the same way.
        :raises ReportUnavailable, DeviceApiError: no answer came this time.
        """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in self.arguments},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        while True:
            # The worker has just looked, and after a restart a moment more does no harm.
            await asyncio.sleep(max(0.0, min(self.poke_interval, self.until - time.time())))
            try:
                look = await self.look()
            except (AdjustConfigurationError, DeviceApiRefused) as error:
                return {"status": "refused", "said": f"{type(error).__name__}: {error}", "value": None}
            except (ReportUnavailable, DeviceApiError) as error:
                look = Look(False, str(error))
            if look.is_done:
                return {"status": "done", "said": excerpt(look.said), "value": look.value}
            self.log.info("%s", look.said)
            if time.time() >= self.until:
                return {"status": "timeout", "said": excerpt(look.said), "value": None}
