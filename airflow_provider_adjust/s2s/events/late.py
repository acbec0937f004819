"""Late events: Adjust refuses an event that is older than the last one of its device and event token."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_provider_adjust.s2s.errors import InvalidEvent
from airflow_provider_adjust.s2s.events import values
from airflow_provider_adjust.s2s.events.event import Event, form_encoded


class LatePolicy(NamedTuple):
    """How to treat a late event.

    :param at_lane_time: send it with the time of the last event; otherwise refuse it.
    :param late_param: the key in ``callback_params`` for its own time.
    """

    at_lane_time: bool
    late_param: str


def whole_seconds(moment: datetime) -> datetime:
    """The time in whole seconds, as it is sent."""
    return moment.replace(microsecond=0)


def how_late(event: Event, last_at: datetime) -> timedelta | None:
    """How much older the event is than the last one of its lanes.

    None if it is not older: events of one second may follow each other.
    """
    late_by = last_at - whole_seconds(event.occurred_at)
    return late_by if late_by > timedelta(0) else None


def at_lane_time(event: Event, last_at: datetime, late_param: str) -> Event:
    """The event to send instead: with ``last_at`` as its time, and its own time in ``callback_params``.

    :raises InvalidEvent: the key cannot be added to it.
    """
    parameter = event.endpoint.parameters["callback_params"]
    sent = event.params.get("callback_params")
    entries = values.load_object("callback_params", sent) if sent else {}
    if late_param in entries:
        raise InvalidEvent(
            "invalid_callback_params",
            f"callback_params already has the key {late_param}, the late_param for the time of a late event; name another",
        )
    own_time = whole_seconds(event.occurred_at).isoformat().replace("+00:00", "Z")
    params = {
        **event.params,
        "created_at_unix": str(int(last_at.timestamp())),
        "callback_params": values.flat_object(parameter, {**entries, late_param: own_time}),
    }
    body = form_encoded(params)
    if len(body) > event.endpoint.max_bytes:
        raise InvalidEvent(
            "too_large",
            f"with its own time the request would have {len(body):,} bytes; Adjust takes {event.endpoint.max_bytes:,}",
        )
    return replace(event, params=params, body=body, occurred_at=last_at)
