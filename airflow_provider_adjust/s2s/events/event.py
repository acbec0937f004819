"""An event, ready to be sent: its parameters, its form-encoded body and its lanes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_plus

from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint
from airflow_provider_adjust.s2s.redaction import shows


@shows("id_name", "key")
class Lane(NamedTuple):
    """Within a lane events are sent one at a time, in chronological order (Adjust S2S events, event timestamp)."""

    id_name: str
    id_value: str
    key: str
    app_token: str = ""


@dataclass(slots=True)
class Event:
    """One event, ready to be sent. Nobody changes it; it is not frozen, since making a frozen one takes five times as long.

    ``params`` is exactly what goes on the wire, and ``body`` the same form-encoded, the only kind that Adjust documents.
    ``occurred_at`` is in UTC and keeps the full precision, which decides the order; ``params["created_at_unix"]`` has whole
    seconds. ``event_id`` is what logs, ledger and receipts carry; it reveals no device. ``left_out`` names parameters that
    were not sent, because Adjust would not take their value. ``unkeyed_id`` is what the event id was made from with a key,
    where the row has no id of its own; it is never kept. ``own_params`` are the parameters before the event id was added to
    ``callback_params``; None where it was not. ``revenue`` is the amount of money, exactly as it is sent.
    """

    params: dict[str, str] = field(repr=False)
    body: str = field(repr=False, compare=False)
    occurred_at: datetime
    event_id: str
    lanes: tuple[Lane, ...] = field(repr=False)
    left_out: tuple[str, ...] = ()
    endpoint: Endpoint = field(default=EVENT, repr=False)
    unkeyed_id: str | None = field(default=None, repr=False, compare=False)
    own_params: dict[str, str] | None = field(default=None, repr=False, compare=False)
    revenue: Decimal | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The value of the endpoint's key, such as the event token; empty where the endpoint has none."""
        return self.params.get(self.endpoint.key, "") if self.endpoint.key else ""

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it this event and no other at one destination: two with the same identity are one event."""
        params = self.params
        app_token, environment = params.get("app_token", ""), params.get("environment", "")
        return app_token, self.endpoint.name, self.key, environment, self.event_id


#: Tells text that form encoding leaves as it is.
needs_no_encoding = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_ENCODED = {code: quote_plus(chr(code)) for code in range(128)}


@lru_cache(maxsize=1024)
def encoded_name(name: str) -> str:
    """A parameter's name as its part of the body begins."""
    return f"{quote_plus(name)}="


def form_encoded(params: Mapping[str, str]) -> str:
    """As ``urllib.parse.urlencode`` does it, and several times faster for ASCII, which nearly every value is."""
    return "&".join([encoded_name(name) + encoded(text) for name, text in params.items()])


def encoded(text: str) -> str:
    """One value, form-encoded."""
    if needs_no_encoding(text):
        return text
    return text.translate(_ENCODED) if text.isascii() else quote_plus(text)
