"""AdjustDeviceEventTrigger: waits in the triggerer until Adjust has a device's event."""

from __future__ import annotations

import base64
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar

from cryptography.fernet import Fernet, InvalidToken

from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.poll import Look, look_at_device
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger


class AdjustDeviceEventTrigger(AdjustWaitingTrigger):
    """Fire once Adjust's last event of a device is at or after a time, or once the time is over.

    :param sealed_device_id: the device's id, sealed with the connection's API token: before Airflow 3.3 the arguments of
        a trigger can be read over Airflow's REST API.
    :param event_token: the event.
    :param since: the time, ISO 8601.

    The other arguments are those of :class:`AdjustWaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = (*AdjustWaitingTrigger.arguments, "sealed_device_id", "event_token", "since")

    def __init__(self, *, sealed_device_id: str, event_token: str, since: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.sealed_device_id = sealed_device_id
        self.event_token = event_token
        self.since = since

    async def look(self) -> Look:
        connection = await AdjustConnection.aget(self.adjust_conn_id, app_token=self.app_token)
        device_api, app_token, api_token = connection.device_account()
        device_id = unseal(self.sealed_device_id, api_token)
        device = await device_api.ainspect_device(device_id, app_token)
        return look_at_device(device, self.event_token, datetime.fromisoformat(self.since))


def seal(text: str, api_token: str) -> str:
    """Encrypt the text."""
    return _fernet(api_token).encrypt(text.encode()).decode()


def unseal(sealed: str, api_token: str) -> str:
    """Decrypt what ``seal`` returned.

    :raises AdjustConfigurationError: it was sealed with another API token.
    """
    try:
        return _fernet(api_token).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise AdjustConfigurationError(
            "the connection's API token was changed while the task waited; clear the task, so that it waits anew"
        ) from None


def _fernet(api_token: str) -> Fernet:
    # The token is long and random, so one digest makes a good key of it.
    return Fernet(
        base64.urlsafe_b64encode(blake2b(api_token.encode(), digest_size=32, person=b"adjust-device").digest())
    )
