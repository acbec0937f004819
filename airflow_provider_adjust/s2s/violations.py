"""What the schema finds wrong with an event, in a data engineer's words."""

from __future__ import annotations

from collections.abc import Mapping

from jsonschema import ValidationError

from airflow_provider_adjust.s2s.endpoint import Endpoint
from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.values import refuse

_WHERE_TO_SET = {
    "environment": "set it to production or sandbox in the connection, the operator or the row",
    "app_token": "set it in the connection, the operator or the row",
}


def check_schema(params: Mapping[str, str], endpoint: Endpoint) -> None:
    """Raise ``InvalidEvent`` for the first thing that the endpoint's schema finds."""
    if endpoint.is_valid(params):
        return
    error = next(endpoint.validator.iter_errors(params), None)
    if error is not None:
        raise _explain(error, params)


def _explain(error: ValidationError, params: Mapping[str, str]) -> InvalidEvent:
    if error.validator == "required" and isinstance(error.validator_value, list):
        name = next(name for name in error.validator_value if name not in params)
        where = _WHERE_TO_SET.get(name, "set it in the operator or the row")
        return InvalidEvent(f"missing_{name}", f"the event has no {name}; {where}")
    if error.validator == "anyOf":
        return InvalidEvent(
            "missing_device_id",
            "the row has no usable device id; give at least one, such as gps_adid, idfa, idfv or adid",
        )
    if error.validator == "dependentRequired":
        return InvalidEvent("missing_currency", "revenue needs currency, an ISO 4217 code such as USD")
    if error.validator == "not":
        return InvalidEvent("conflicting_att_status", "give att_status or tracking_enabled, never both")
    name = str(error.absolute_path[0]) if error.absolute_path else "row"
    return refuse(name, "is not of the form that Adjust documents")
