"""The records of a sandbox: events, the last time of every lane, and counters.

A lane is (device id name, device id value, event token): the scope in which Adjust demands chronological order. Lanes
and seen events are stored as 64-bit hashes, so a million of them fit in memory beside the events.
"""

from __future__ import annotations

import decimal
import json
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qsl

# Sums of revenue must be exact: far more digits than any sum of accepted values can have.
_EXACT = decimal.Context(prec=100)
#: The endpoint with event tokens in its requests.
EVENT = "event"


def parse_form(raw: bytes) -> dict[str, str]:
    """Parse URL-encoded parameters. The first of a repeated name counts, and an empty value is a value."""
    params: dict[str, str] = {}
    for name, value in parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True):
        params.setdefault(name, value)
    return params


def amount_of(params: Mapping[str, str], endpoint: str) -> str | None:
    """Return the amount of a recorded request; None where it has none."""
    amount = params.get("revenue")
    return params.get("amount") if amount is None and endpoint != EVENT else amount


def _by_currency(sums: Mapping[tuple[str, str, str], decimal.Decimal]) -> dict[str, str]:
    total: dict[str, decimal.Decimal] = {}
    for (_, _, currency), amount in sorted(sums.items()):
        total[currency] = _EXACT.add(total.get(currency, decimal.Decimal(0)), amount)
    return {currency: format(amount, "f") for currency, amount in total.items()}


class SandboxState:
    """Everything that `reset` forgets. Only the server's event loop changes it."""

    def __init__(self, *, keep_events: bool) -> None:
        self.keep_events = keep_events
        self._raw: list[bytes] = []
        self._endpoints: list[str] = []
        self._received_at = array("d")
        self._last_times: dict[int, float] = {}
        self._seen: set[int] = set()
        self._seen_event_ids: set[int] = set()
        # The few names and tokens that the Device API needs to compute the hashes of a device's lanes.
        self._id_names: set[str] = set()
        self._event_tokens: dict[str, set[str]] = {}
        self._revenue: dict[tuple[str, str, str], decimal.Decimal] = {}
        self._ad_revenue: dict[tuple[str, str, str], decimal.Decimal] = {}
        #: The time and parameters of each requested erasure.
        self.erasure_requests: list[tuple[float, dict[str, str]]] = []
        self._erased: set[tuple[str, str, str, str]] = set()
        self.requests = 0
        self.recorded = 0
        self.order_violations = 0
        self.repeated = 0
        self.repeated_event_ids = 0
        self.abandoned = 0
        self.redirects_followed = 0
        self.by_endpoint: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.by_error: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    @staticmethod
    def lane(id_name: str, id_value: str, event_token: str) -> int:
        """Return the key of a lane."""
        return hash((id_name, id_value, event_token))

    def last_time(self, lane: int) -> float | None:
        """Return the time of the lane's last recorded event, in seconds since the epoch."""
        return self._last_times.get(lane)

    def erase(self, app_token: str, environment: str, id_name: str, id_value: str) -> None:
        """Forget a device of an app; its events are refused from now on."""
        self._erased.add((app_token, environment, id_name, id_value))

    def is_erased(self, params: Mapping[str, str], ids: Mapping[str, str]) -> bool:
        """Return whether an event names a device that was erased."""
        app = params.get("app_token", ""), params.get("environment", "production")
        return any((*app, name, value) in self._erased for name, value in ids.items())

    def record(
        self,
        raw: bytes,
        params: Mapping[str, str],
        ids: Mapping[str, str],
        lanes: tuple[int, ...],
        time: float,
        now: float,
        endpoint: str,
    ) -> None:
        """Record an accepted event that happened at `time` and was received `now`."""
        self.recorded += 1
        self.by_endpoint[endpoint] += 1
        for lane in lanes:
            self._last_times[lane] = time
        self._id_names.update(ids)
        event_token = params["event_token"] if endpoint == EVENT else ""
        if event_token:
            self._event_tokens.setdefault(event_token, set()).add(params["app_token"])
        self._count_repetitions(params, endpoint)
        if (text := amount_of(params, endpoint)) is not None:
            sums = self._revenue if endpoint == EVENT else self._ad_revenue
            key = (params["app_token"], event_token, params["currency"].upper())
            sums[key] = _EXACT.add(sums.get(key, decimal.Decimal(0)), decimal.Decimal(text))
        if self.keep_events:
            self._raw.append(raw)
            self._endpoints.append(endpoint)
            self._received_at.append(now)

    def _count_repetitions(self, params: Mapping[str, str], endpoint: str) -> None:
        fingerprint = hash((endpoint, frozenset(params.items())))
        if fingerprint in self._seen:
            self.repeated += 1
        self._seen.add(fingerprint)
        custom = params.get("callback_params", "")
        if '"event_id"' in custom and (event_id := json.loads(custom).get("event_id")) is not None:
            fingerprint = hash((endpoint, event_id))
            if fingerprint in self._seen_event_ids:
                self.repeated_event_ids += 1
            self._seen_event_ids.add(fingerprint)

    def last_events(self, id_value: str, app_token: str) -> dict[str, float]:
        """Return the time of a device's last event per event token of an app."""
        found: dict[str, float] = {}
        for event_token, app_tokens in self._event_tokens.items():
            if app_token in app_tokens:
                times = (self.last_time(self.lane(name, id_value, event_token)) for name in self._id_names)
                if known := [time for time in times if time is not None]:
                    found[event_token] = max(known)
        return found

    def events(self, offset: int, limit: int | None) -> list[dict[str, object]]:
        """Return recorded events in order of receipt."""
        end = len(self._raw) if limit is None else offset + limit
        return [
            {"received_at": received_at, "endpoint": endpoint, "params": parse_form(raw)}
            for raw, endpoint, received_at in zip(
                self._raw[offset:end], self._endpoints[offset:end], self._received_at[offset:end], strict=True
            )
        ]

    def received_until(self, time: float) -> int:
        """Return how many of the kept events had been received by then."""
        return bisect_right(self._received_at, time)

    def known_event_tokens(self) -> dict[str, frozenset[str]]:
        """Return the app tokens of each recorded event token."""
        return {event_token: frozenset(app_tokens) for event_token, app_tokens in self._event_tokens.items()}

    def stats(self) -> dict[str, object]:
        """Return the counters in a form for JSON; revenue is exact decimal text."""
        by_token: dict[str, dict[str, dict[str, str]]] = {}
        for (app_token, event_token, currency), amount in sorted(self._revenue.items()):
            by_token.setdefault(app_token, {}).setdefault(event_token, {})[currency] = format(amount, "f")
        return {
            "requests": self.requests,
            "recorded": self.recorded,
            "by_endpoint": dict(sorted(self.by_endpoint.items())),
            "by_status": dict(sorted(self.by_status.items())),
            "by_error": dict(sorted(self.by_error.items())),
            "revenue": _by_currency(self._revenue),
            "revenue_by_token": by_token,
            "ad_revenue": _by_currency(self._ad_revenue),
            "order_violations": self.order_violations,
            "repeated": self.repeated,
            "repeated_event_ids": self.repeated_event_ids,
            "faults": dict(sorted(self.faults.items())),
            "abandoned": self.abandoned,
            "redirects_followed": self.redirects_followed,
            "erasure_requests": len(self.erasure_requests),
            "erased": len(self._erased),
        }
