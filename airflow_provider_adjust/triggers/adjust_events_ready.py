"""AdjustEventsReadyTrigger: waits in the triggerer until the warehouse has the events to send."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseHook
from asgiref.sync import sync_to_async

from airflow_provider_adjust.airflow_versions import deserialize, serialize
from airflow_provider_adjust.events_ready import ReadyQuery
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.triggers.adjust_waiting import TriggerPayload, WaitingTrigger
from airflow_provider_adjust.triggers.encryption import WrongKey, decrypt_with, encrypt_with, key_material

#: Seconds that a query may take beyond the sensor's timeout.
_SLOWEST_QUERY = 60.0


class AdjustEventsReadyTrigger(WaitingTrigger):
    """Fire when the warehouse has the events, at the timeout, or when a worker must decide.

    It runs the same query as the sensor, in a thread, since few databases have an asynchronous driver. Airflow's trigger for
    queries runs a query once, and stores it in plain text.

    :param encrypted_query: the query, its parameters and the hook's arguments, encrypted with what the connection holds:
        they may hold customers' data.
    :param sql_conn_id: the database connection.
    :param min_events: the smallest count that ends the wait.
    :param settle_for: seconds since the last load.
    :param timezone: IANA name of the time zone of a load time without an offset.

    The other arguments are those of :class:`~airflow_provider_adjust.triggers.adjust_waiting.WaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "encrypted_query",
        "sql_conn_id",
        "min_events",
        "settle_for",
        "timezone",
        *WaitingTrigger.arguments,
    )

    def __init__(
        self,
        *,
        encrypted_query: str,
        sql_conn_id: str,
        min_events: int,
        settle_for: float | None,
        timezone: str,
        **waiting: Any,
    ) -> None:
        super().__init__(**waiting)
        self.encrypted_query = encrypted_query
        self.sql_conn_id = sql_conn_id
        self.min_events = min_events
        self.settle_for = settle_for
        self.timezone = timezone
        self._query: ReadyQuery | None = None

    @classmethod
    def of(cls, query: ReadyQuery, *, poke_interval: float, until: float) -> AdjustEventsReadyTrigger:
        """The trigger that continues to poll.

        :raises TypeError: Airflow cannot serialize a value of the parameters.
        """
        parameters = query.parameters if isinstance(query.parameters, Mapping | None) else list(query.parameters)
        text = json.dumps(serialize([query.sql, parameters, query.hook_params and dict(query.hook_params)]))
        return cls(
            encrypted_query=encrypt_with(key_material(BaseHook.get_connection(query.sql_conn_id)), text),
            sql_conn_id=query.sql_conn_id,
            min_events=query.min_events,
            settle_for=None if query.settle_for is None else query.settle_for.total_seconds(),
            timezone=query.timezone,
            poke_interval=poke_interval,
            until=until,
        )

    async def poll(self) -> PollResult | TriggerPayload:
        """Poll once. After an error a worker polls, since the sensor's arguments decide how to handle it."""
        try:
            # In its own thread, so that a slow database does not delay other triggers. Airflow's connections can be read in a
            # thread that asgiref started.
            poll = sync_to_async(self._poll_in_thread, thread_sensitive=False)
            return await asyncio.wait_for(poll(), max(0.0, self.until - time.time()) + _SLOWEST_QUERY)
        except WrongKey:
            message = "the connection has changed since the task was deferred"
        except Exception as error:
            # Only the type: a database's message may repeat values of the query.
            message = f"the query failed, {type(error).__name__}"
        self.log.warning("%s; a worker polls instead", message)
        return {"status": "poll", "message": message, "value": None, "until": self.until}

    def _poll_in_thread(self) -> PollResult:
        if self._query is None:
            self._query = self._decrypted()
        return self._query.poll()

    def _decrypted(self) -> ReadyQuery:
        text = decrypt_with(key_material(BaseHook.get_connection(self.sql_conn_id)), self.encrypted_query)
        values: Any = deserialize(json.loads(text))
        sql, parameters, hook_params = values
        return ReadyQuery(
            sql=sql,
            sql_conn_id=self.sql_conn_id,
            parameters=parameters,
            hook_params=hook_params,
            min_events=self.min_events,
            settle_for=None if self.settle_for is None else timedelta(seconds=self.settle_for),
            timezone=self.timezone,
        )
