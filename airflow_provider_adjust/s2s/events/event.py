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
    """The events of a lane are sent one at a time, in chronological order (Adjust S2S events, event timestamp)."""

    id_name: str
    id_value: str
    key: str
    app_token: str = ""


@dataclass(slots=True)
class Event:
    """One event, ready to be sent. Treat it as immutable; it is not frozen, since creating a frozen one takes five times as long.

    ``params`` holds the parameters that are sent, and ``body`` the same ones form-encoded, the only encoding that Adjust
    documents. ``occurred_at`` is in UTC with full precision, which decides the order; ``params["created_at_unix"]`` has whole
    seconds. ``event_id`` appears in logs, ledger and receipts; it does not reveal the device. ``left_out`` names the parameters
    that were not sent because Adjust would refuse their values. ``unkeyed_id`` is the input of the keyed digest that is the event
    id of a row without an id; it is never stored. ``own_params`` are the parameters before the event id was added to
    ``callback_params``; None if it was not added. ``revenue`` is the amount of money, exactly as it is sent.
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
    _identity: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The value of the endpoint's key, such as the event token; empty where the endpoint has none."""
        return self.params.get(self.endpoint.key, "") if self.endpoint.key else ""

    @property
    def identity(self) -> tuple[str, ...]:
        """What identifies the event at one destination: two events with the same identity are the same event."""
        if self._identity is None:
            params = self.params
            app_token, environment = params.get("app_token", ""), params.get("environment", "")
            self._identity = app_token, self.endpoint.name, self.key, environment, self.event_id
        return self._identity


#: Matches text that form encoding leaves unchanged.
needs_no_encoding = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_ENCODED = {code: quote_plus(chr(code)) for code in range(128)}


@lru_cache(maxsize=1024)
def encoded_name(name: str) -> str:
    """A parameter's name, form-encoded, with its equals sign."""
    return f"{quote_plus(name)}="


def form_encoded(params: Mapping[str, str]) -> str:
    """Encode like ``urllib.parse.urlencode``, but several times faster for ASCII, which nearly every value is."""
    return "&".join([encoded_name(name) + encoded(text) for name, text in params.items()])


def encoded(text: str) -> str:
    """One value, form-encoded."""
    if needs_no_encoding(text):
        return text
    return text.translate(_ENCODED) if text.isascii() else quote_plus(text)
