"""A device by one of its ids, where nothing else of an event is known."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.values import NORMALISERS
from airflow_provider_adjust.s2s.redaction import shows


@shows("id_name")
class DeviceId(NamedTuple):
    """The id under the name of Adjust's parameter, and as it is sent."""

    id_name: str
    id_value: str

    @classmethod
    def of(cls, name: str, value: Any) -> DeviceId | None:
        """The id that a row gives; None where it is no device's: nothing, only zeros, or a word for null.

        :raises InvalidEvent: the value cannot be an id.
        """
        parameter = EVENT.parameters[name]
        sent = None if value is None else NORMALISERS[parameter.kind](parameter, value)
        if name == "adid" and sent:
            sent = sent.lower()  # Adjust makes it so, and answers 200 for one that it does not know
        return cls(name, sent) if sent else None

    @classmethod
    def parse(cls, line: str, where: str) -> DeviceId:
        """Read ``parameter=value``, as somebody types it. No message repeats the value.

        :param where: what the message calls the line.
        :raises AdjustConfigurationError: it is something else.
        """
        name, _, value = line.partition("=")
        name = name.strip()
        device = cls.of(name, value) if name in EVENT.device_ids else None
        if device is None:
            raise AdjustConfigurationError(f"{where} must be PARAMETER=VALUE with a device id, such as gps_adid=...")
        return device
