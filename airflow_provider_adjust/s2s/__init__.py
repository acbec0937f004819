"""Adjust's S2S protocol in plain Python: rows in, receipts out. It does not import Airflow.

This module is the public API. Its names are stable; the packages below may change between versions.

.. code-block:: python

    from airflow_provider_adjust.s2s import InvalidEvent, RowOptions, parse_event

    options = RowOptions(app_token="4w565xzmb54d", event_token="f0ob4r", environment="sandbox")

    try:
        event = parse_event({"gps_adid": "...", "created_at": "2026-05-01T12:00:00Z"}, options)
    except InvalidEvent as refusal:
        print(refusal.reason, refusal.detail)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_adjust.s2s.answers.classify import classify
    from airflow_provider_adjust.s2s.answers.outcome import Outcome, Verdict
    from airflow_provider_adjust.s2s.answers.receipt import Receipt
    from airflow_provider_adjust.s2s.checkpoint import Checkpoint, CheckpointStore
    from airflow_provider_adjust.s2s.delivery.options import LookupPolicy, Retries, SendOptions
    from airflow_provider_adjust.s2s.delivery.route import Route
    from airflow_provider_adjust.s2s.delivery.sender import Sender
    from airflow_provider_adjust.s2s.endpoints.allowed_hosts import AllowedHosts
    from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS, EVENT, Endpoint
    from airflow_provider_adjust.s2s.errors import (
        AdjustConfigurationError,
        AdjustError,
        AdjustUnreachable,
        CheckpointMismatch,
        ClaimedByAnotherDag,
        CountsMismatch,
        DeliveryHalted,
        DeliveryIncomplete,
        DeliveryStopped,
        ErasureIncomplete,
        EventsUnresolved,
        InputUnreadable,
        InvalidEvent,
        LedgerUnavailable,
        NotAdjust,
        PruningStopped,
        RejectedBudgetExceeded,
        StreamOutOfOrder,
    )
    from airflow_provider_adjust.s2s.events.event import Event, Lane
    from airflow_provider_adjust.s2s.events.options import RowOptions
    from airflow_provider_adjust.s2s.events.parser import EventParser, parse_event
    from airflow_provider_adjust.s2s.ledger.ledger import Ledger
    from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId

__all__ = [
    "ENDPOINTS",
    "EVENT",
    "AdjustConfigurationError",
    "AdjustError",
    "AdjustUnreachable",
    "AllowedHosts",
    "Checkpoint",
    "CheckpointMismatch",
    "CheckpointStore",
    "ClaimedByAnotherDag",
    "CountsMismatch",
    "DeliveryHalted",
    "DeliveryIncomplete",
    "DeliveryStopped",
    "Endpoint",
    "ErasureIncomplete",
    "Event",
    "EventParser",
    "EventsUnresolved",
    "InputUnreadable",
    "InvalidEvent",
    "Lane",
    "Ledger",
    "LedgerUnavailable",
    "LookupPolicy",
    "NotAdjust",
    "Outcome",
    "PruningStopped",
    "Receipt",
    "RejectedBudgetExceeded",
    "Retries",
    "Route",
    "RowOptions",
    "SendOptions",
    "Sender",
    "StreamOutOfOrder",
    "TaskInstanceId",
    "Verdict",
    "classify",
    "parse_event",
]

#: The module that defines each name. Names are imported on first use: triggers and sensors, which import only the errors, then
#: load neither the sender nor a database library.
_HOMES = {
    "answers.classify": ("classify",),
    "answers.outcome": ("Outcome", "Verdict"),
    "answers.receipt": ("Receipt",),
    "checkpoint": ("Checkpoint", "CheckpointStore"),
    "delivery.options": ("LookupPolicy", "Retries", "SendOptions"),
    "delivery.route": ("Route",),
    "delivery.sender": ("Sender",),
    "endpoints.allowed_hosts": ("AllowedHosts",),
    "endpoints.endpoint": ("ENDPOINTS", "EVENT", "Endpoint"),
    "events.event": ("Event", "Lane"),
    "events.options": ("RowOptions",),
    "events.parser": ("EventParser", "parse_event"),
    "ledger.ledger": ("Ledger",),
    "ledger.tries": ("TaskInstanceId",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
