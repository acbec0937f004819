"""A device, identified by one of its ids, for erasures and look-ups that have no event."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.values import NORMALISERS
from airflow_provider_adjust.s2s.redaction import shows


@shows("id_name")
class DeviceId(NamedTuple):
    """The name of Adjust's parameter and the id as it is sent."""

    id_name: str
    id_value: str

    @classmethod
    def of(cls, name: str, value: Any) -> DeviceId | None:
        """The id in a value of a row; None if the value identifies no device: empty, all zeros, or a word for null.

        :raises InvalidEvent: the value cannot be an id.
        """
        parameter = EVENT.parameters[name]
        sent = None if value is None else NORMALISERS[parameter.kind](parameter, value)
        if name == "adid" and sent:
            sent = sent.lower()  # Adjust stores it so, and answers 200 for an unknown id
        return cls(name, sent) if sent else None

    @classmethod
    def parse(cls, line: str, where: str) -> DeviceId:
        """Read ``parameter=value`` as a person types it. No message repeats the value.

        :param where: the name of the line in the message.
        :raises AdjustConfigurationError: the line has another form.
        """
        name, _, value = line.partition("=")
        name = name.strip()
        device = cls.of(name, value) if name in EVENT.device_ids else None
        if device is None:
            raise AdjustConfigurationError(f"{where} must be PARAMETER=VALUE with a device id, such as gps_adid=...")
        return device
