"""A row in, an event out: normalised, validated, identified, with its lanes named.

A row is a mapping whose keys are Adjust's own parameter names, so that the SQL's aliases are the mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

from airflow_provider_adjust.s2s import times, values
from airflow_provider_adjust.s2s.columns import Columns
from airflow_provider_adjust.s2s.endpoint import EVENT, Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.form_encoding import form_encoded, size_above
from airflow_provider_adjust.s2s.rows import MendedRow, Row, UnreadableRow
from airflow_provider_adjust.s2s.shown import quoted
from airflow_provider_adjust.s2s.violations import check_schema

__all__ = ["Event", "EventParser", "InvalidEvent", "Lane", "parse_event"]

#: How many events with these very parameters came before this one: two equal purchases in one second are two events.
CountEqual = Callable[[str, datetime], int]


class Lane(NamedTuple):
    """Within a lane events are sent one at a time, in the order of their times (Adjust S2S events, event timestamp)."""

    id_name: str
    id_value: str
    event_token: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to be sent.

    ``params`` is exactly what goes on the wire, before form encoding. ``occurred_at`` is in UTC and keeps the full
    precision, which decides the order; ``params["created_at_unix"]`` has whole seconds. ``event_id`` is what logs,
    ledger and receipts carry; it reveals no device. ``left_out`` names parameters whose value Adjust would not take and
    which were therefore not sent.
    """

    params: dict[str, str] = field(repr=False)
    occurred_at: datetime
    event_id: str
    lanes: tuple[Lane, ...] = field(repr=False)
    left_out: tuple[str, ...] = ()

    @property
    def body(self) -> str:
        """The form-encoded body, the only kind that Adjust documents."""
        return form_encoded(self.params)

    @property
    def revenue(self) -> Decimal | None:
        amount = self.params.get("revenue")
        return None if amount is None else Decimal(amount)


class EventParser:
    """Parses rows that share their defaults; ``parse_event`` has the meaning of every argument."""

    def __init__(
        self,
        *,
        app_token: str | None = None,
        event_token: str | None = None,
        event_tokens: Mapping[str, str] | None = None,
        environment: str | None = None,
        timezone: str = "UTC",
        column_map: Mapping[str, str] | None = None,
        extra_params: Sequence[str] = (),
        id_field: str | None = None,
        event_id_param: str | None = None,
        ignored: Sequence[str] = (),
        endpoint: Endpoint = EVENT,
    ) -> None:
        self.endpoint = endpoint
        self._zone: tzinfo = times.load_timezone(timezone)
        self._names = dict(column_map or {})
        self._event_tokens = dict(event_tokens or {})
        self._id_field = id_field
        self._event_id_param = event_id_param
        self._columns = Columns(
            endpoint,
            names=self._names,
            extra=extra_params,
            ignored=ignored if id_field is None else (*ignored, self._names.get(id_field, id_field)),
            has_event_names=bool(event_tokens),
        )
        self._defaults = {"s2s": "1"}
        for name, default in (("app_token", app_token), ("event_token", event_token), ("environment", environment)):
            if not values.is_missing(default):
                self._defaults[name] = self._default(name, default)
        for event, token in self._event_tokens.items():
            self._default("event_token", token, f"event_tokens[{event!r}]")
        if id_field is not None and self._names.get(id_field, id_field) in endpoint.personal:
            raise AdjustConfigurationError(
                f"id_field={id_field!r} holds a device's id or other personal data; event ids appear in logs, so "
                "name a column such as the order's number"
            )

    def _default(self, name: str, value: Any, argument: str | None = None) -> str:
        parameter = self.endpoint.parameters[name]
        try:
            return values.NORMALISERS[parameter.kind](parameter, value) or ""
        except InvalidEvent as error:
            raise AdjustConfigurationError(f"{argument or name}: {error.detail}") from None

    def renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row under Adjust's names."""
        return {self._names.get(column, column): value for column, value in row.items()}

    def parse(self, row: Row, *, now: datetime | None = None, count_equal: CountEqual | None = None) -> Event:
        """Return the event that the row describes, or raise ``InvalidEvent``."""
        if isinstance(row, UnreadableRow):
            raise InvalidEvent("unreadable_row", row.problem)
        if not isinstance(row, Mapping):
            raise InvalidEvent(
                "not_a_row", f"a row is a mapping of parameter names to values, not a {type(row).__name__}"
            )
        event_id = None
        try:
            event_id = self.row_id(row)
            return self._parse(row, event_id, now or datetime.now(UTC), count_equal)
        except InvalidEvent as error:
            error.event_id = event_id
            raise
        except Exception as error:
            # Whatever a row holds (a number of 5,000 digits, an object that raises), it spoils only itself.
            raise InvalidEvent(
                "unreadable_row",
                f"a value of the row cannot be read ({type(error).__name__}); cast it to text or to a number",
                event_id=event_id,
            ) from None

    def row_id(self, row: Row) -> str | None:
        """The row's own id where ``id_field`` names one, or the one that a rejected file kept."""
        value: Any
        if isinstance(row, MendedRow):
            value, where = row.event_id, "event_id of the rejected line"
        elif self._id_field is None:
            return None
        else:
            value, where = row.get(self._id_field), f"id_field {self._id_field}"
        text = None if values.is_missing(value) else values.scalar_text(value)
        if not text or not text.strip():
            raise InvalidEvent("missing_event_id", f"the {where} is empty; every event needs its id")
        return text.strip()

    def _parse(self, row: Row, event_id: str | None, now: datetime, count_equal: CountEqual | None) -> Event:
        params: dict[str, str] = {}
        left_out: list[str] = []
        moments: dict[str, datetime] = {}
        named: dict[str, str] = {}
        for (name, kind, parameter, normalise), value in zip(self._columns.of(row), row.values(), strict=True):
            if value is None or (values.is_missing(value) and not (kind == "money" and values.is_nan(value))):
                continue
            if normalise is not None:
                text = normalise(parameter, value)
                if text:
                    params[name] = text
                elif text is None:
                    left_out.append(name)
            elif kind == "time":
                moments[name] = times.read_time(name, value, self._zone)
            elif kind == "event":
                named["event_token"] = self._event_token_of(value)
        # What the row says itself goes before the token of its event's name, and that before the defaults.
        params = {**self._defaults, **named, **params}
        occurred_at = self._check_time(moments, now)
        params["created_at_unix"] = str(int(occurred_at.timestamp()))
        check_schema(params, self.endpoint)

        if event_id is None:
            event_id = _digest(params)
            equal_before = count_equal(event_id, occurred_at) if count_equal else 0
            if equal_before:
                event_id = _digest({"first": event_id, "ordinal": str(equal_before)})
        if self._event_id_param is not None:
            self._add_event_id(params, event_id)
        self._check_size(params)
        return Event(params, occurred_at, event_id, self._lanes(params), tuple(left_out))

    def _event_token_of(self, event: Any) -> str:
        try:
            return self._event_tokens[event]
        except (KeyError, TypeError):
            known = ", ".join(sorted(self._event_tokens))
            raise InvalidEvent(
                "unknown_event", f"event {quoted(event)} has no token in event_tokens; known: {known}"
            ) from None

    def _check_time(self, moments: dict[str, datetime], now: datetime) -> datetime:
        if not moments:
            raise InvalidEvent(
                "missing_created_at",
                "the row has no created_at or created_at_unix; Adjust would book the time of receipt, and the order "
                "would be lost",
            )
        # Of two that name the same second, the later one has the fraction that decides the order.
        occurred_at = max(moments.values())
        if len(moments) > 1 and int(min(moments.values()).timestamp()) != int(occurred_at.timestamp()):
            raise InvalidEvent(
                "conflicting_created_at", "created_at and created_at_unix name different seconds; give one"
            )
        age = now - occurred_at
        if -self.endpoint.max_ahead <= age <= self.endpoint.max_age:
            return occurred_at
        if age > self.endpoint.max_age:
            raise InvalidEvent(
                "expired",
                f"the event is {age.days} days old; Adjust takes none older than {self.endpoint.max_age.days}",
                occurred_at=occurred_at,
            )
        raise InvalidEvent(
            "created_at_in_future",
            f"created_at lies {-age} ahead of now; check its time zone (times without an offset are read in `timezone`)",
            occurred_at=occurred_at,
        )

    def _add_event_id(self, params: dict[str, str], event_id: str) -> None:
        parameter = self.endpoint.parameters["callback_params"]
        sent = params.get("callback_params")
        entries = values.load_object("callback_params", sent) if sent else {}
        if self._event_id_param in entries:
            raise InvalidEvent(
                "invalid_callback_params",
                f"callback_params already has the key {self._event_id_param}, which event_id_param is to fill",
            )
        params["callback_params"] = values.flat_object(parameter, {**entries, self._event_id_param: event_id})

    def _check_size(self, params: Mapping[str, str]) -> None:
        size = size_above(self.endpoint.max_bytes, params)
        if size is not None:
            raise InvalidEvent(
                "too_large", f"the request would have {size:,} bytes; Adjust takes {self.endpoint.max_bytes:,}"
            )

    def _lanes(self, params: Mapping[str, str]) -> tuple[Lane, ...]:
        device_ids = self.endpoint.device_ids
        token = params["event_token"]
        return tuple([Lane(name, text, token) for name, text in params.items() if name in device_ids])


def parse_event(
    row: Row,
    *,
    app_token: str | None = None,
    event_token: str | None = None,
    event_tokens: Mapping[str, str] | None = None,
    environment: str | None = None,
    timezone: str = "UTC",
    now: datetime | None = None,
    column_map: Mapping[str, str] | None = None,
    extra_params: Sequence[str] = (),
    id_field: str | None = None,
    event_id_param: str | None = None,
) -> Event:
    """Turn one row into an event, or raise ``InvalidEvent`` with a reason and the remedy.

    :param row: a mapping of Adjust's parameter names to values; None, NaN and empty text leave a parameter out.
    :param app_token: used where the row has none.
    :param event_token: used where the row has none.
    :param event_tokens: event tokens by the name that a row's ``event`` column holds.
    :param environment: ``production`` or ``sandbox``, used where the row has none. There is no other default.
    :param timezone: IANA name of the zone in which times without an offset are read.
    :param now: the time from which age is measured; the clock's by default.
    :param column_map: Adjust's names by the row's, ``{"gaid": "gps_adid"}``.
    :param extra_params: names to send although the schema does not know them.
    :param id_field: the column that identifies a row; it is not sent. Without one, the event's id is a digest of what
        is sent.
    :param event_id_param: the key under which ``callback_params`` carries the event's id, so that raw data exports can
        be joined back.
    :raises InvalidEvent: the row is no event that Adjust would take.
    :raises AdjustConfigurationError: a default is unusable, whatever the row.
    """
    parser = EventParser(
        app_token=app_token,
        event_token=event_token,
        event_tokens=event_tokens,
        environment=environment,
        timezone=timezone,
        column_map=column_map,
        extra_params=extra_params,
        id_field=id_field,
        event_id_param=event_id_param,
    )
    return parser.parse(row, now=now)


def _digest(params: Mapping[str, str]) -> str:
    canonical = "\x1e".join(f"{name}\x1f{params[name]}" for name in sorted(params))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()
