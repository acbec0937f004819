"""AdjustDeviceEventTrigger: waits in the triggerer until Adjust has a device's event."""

from __future__ import annotations

import base64
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar

from cryptography.fernet import Fernet, InvalidToken

from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.poll import PollResult, poll_device
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.triggers.adjust_waiting import AdjustWaitingTrigger


class AdjustDeviceEventTrigger(AdjustWaitingTrigger):
    """Fire when Adjust's last event of a device is at or after a time, or at the timeout.

    :param encrypted_device_id: the device's id, encrypted with the connection's API token, because before Airflow 3.3
        Airflow's REST API shows the arguments of a trigger.
    :param event_token: the event.
    :param since: the time, ISO 8601.

    The other arguments are those of :class:`AdjustWaitingTrigger`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        *AdjustWaitingTrigger.arguments,
        "encrypted_device_id",
        "event_token",
        "since",
    )

    def __init__(self, *, encrypted_device_id: str, event_token: str, since: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.encrypted_device_id = encrypted_device_id
        self.event_token = event_token
        self.since = since

    async def poll_once(self) -> PollResult:
        connection = await AdjustConnection.aget(self.adjust_conn_id, app_token=self.app_token)
        device_api, app_token, api_token = connection.device_account()
        device_id = decrypt(self.encrypted_device_id, api_token)
        device = await device_api.ainspect_device(device_id, app_token)
        return poll_device(device, self.event_token, datetime.fromisoformat(self.since))


def encrypt_for_trigger(text: str, api_token: str) -> str:
    """Encrypt the text with a key derived from the API token."""
    return _fernet(api_token).encrypt(text.encode()).decode()


def decrypt(encrypted: str, api_token: str) -> str:
    """Decrypt what ``encrypt_for_trigger`` returned.

    :raises AdjustConfigurationError: the text was encrypted with another API token.
    """
    try:
        return _fernet(api_token).decrypt(encrypted.encode()).decode()
    except InvalidToken:
        raise AdjustConfigurationError(
            "the connection's API token was changed while the task waited; clear the task to wait again"
        ) from None


def _fernet(api_token: str) -> Fernet:
    # The token is long and random, so one digest of it is a good key.
    return Fernet(
        base64.urlsafe_b64encode(blake2b(api_token.encode(), digest_size=32, person=b"adjust-device").digest())
    )
