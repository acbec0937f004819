"""Parse a row into an event: normalise and validate its values, identify it, and name its lanes.

A row maps Adjust's parameter names to values, so the aliases of a SQL query define the mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint, Parameter, endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events import times, values
from airflow_provider_adjust.s2s.events.columns import MOST_SHAPES, Columns
from airflow_provider_adjust.s2s.events.event import Event, Lane, encoded, encoded_name, form_encoded, needs_no_encoding
from airflow_provider_adjust.s2s.events.identity import EventIds
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.events.max_revenue import RevenueLimit
from airflow_provider_adjust.s2s.events.options import OnBadOptional, RowOptions
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow, Row, UnreadableRow
from airflow_provider_adjust.s2s.redaction import VALUE_ERRORS, quote

if TYPE_CHECKING:
    from jsonschema import ValidationError

#: Returns how many events with the same parameters preceded: two equal purchases in one second are two events.
CountEqual = Callable[[str, datetime], int]
#: Kinds of columns that are not sent.
_NOT_SENT = frozenset({"own", "ignored"})


class _Names(NamedTuple):
    """The names of an event's device ids, and of its amount of money."""

    device_ids: tuple[str, ...]
    amount: str | None


class EventParser:
    """Parses the rows of one delivery.

    :param options: how the rows are read.
    :param endpoint: overrides the one in the options.
    :param ignored: columns that are not sent.
    :param digest_keys: secrets for every digest of row data, newest first: for example the event ids of rows without
        ``id_field``. The older ones recognise the digests that they made. Without a secret, digests have no key, and short values
        can be found by trial.
    :raises AdjustConfigurationError: an option is unusable, whatever the row.
    """

    def __init__(
        self,
        options: RowOptions | None = None,
        *,
        endpoint: Endpoint | None = None,
        ignored: Sequence[str] = (),
        digest_keys: bytes | Sequence[bytes] = (),
    ) -> None:
        self.options = options = options or RowOptions()
        self.endpoint = endpoint = endpoint or endpoint_named(options.endpoint)
        _check_event_tokens(options, endpoint)
        if endpoint.state is not None and options.id_columns:
            raise AdjustConfigurationError(
                f"id_field cannot be given with endpoint={endpoint.name!r}: a later row of a device replaces the earlier one, so "
                "the device is what counts; leave it out"
            )
        self.digest_keys = DigestKeys(digest_keys)
        self._zone: tzinfo = times.load_timezone(options.timezone)
        self._event_tokens = dict(options.event_tokens or {})
        # Empty text is None on a command line; an endpoint without callback_params has no place for the id.
        self._event_id_param = (options.event_id_param or None) if "callback_params" in endpoint.parameters else None
        self._revenue_limit = None if options.max_revenue is None else RevenueLimit(options.max_revenue, endpoint)
        if options.on_bad_optional not in get_args(OnBadOptional):
            raise AdjustConfigurationError(
                f"on_bad_optional={options.on_bad_optional!r} must be one of {', '.join(get_args(OnBadOptional))}"
            )
        self._leaves_out_bad = options.on_bad_optional == "leave_out"
        self._ids = EventIds(options, endpoint)
        #: Rows have no id.
        self.ids_are_digests = not self._ids.names
        #: What the rows' columns mean.
        self.columns = Columns(options, endpoint, own=ignored)
        self._defaults = dict(endpoint.constants)
        for name in endpoint.defaults:
            default = getattr(options, name, None)
            if not values.is_missing(default):
                self._defaults[name] = self._default(name, default)
        for event, token in self._event_tokens.items():
            self._default("event_token", token, f"event_tokens[{event!r}]")
        self._encoded_defaults = [encoded_name(name) + encoded(text) for name, text in self._defaults.items()]
        #: The text around an event's id if that is the only callback parameter; plain, and encoded.
        self._around_id = self._encoded_around_id = "", ""
        self._has_plain_key = self._event_id_param is not None and bool(needs_no_encoding(self._event_id_param))
        if self._has_plain_key:
            self._around_id = f'{{"{self._event_id_param}":"', '"}'
            before, after = map(encoded, self._around_id)
            self._encoded_around_id = f"callback_params={before}", after
        #: Keyed by the parameter names of events that satisfy all rules.
        self._names: dict[tuple[str, ...], _Names] = {}

    @property
    def defaults(self) -> Mapping[str, str]:
        """Parameters used for all rows that do not give them, such as ``environment``."""
        return self._defaults

    @property
    def event_tokens(self) -> Mapping[str, str]:
        """Event tokens by event name."""
        return self._event_tokens

    def _default(self, name: str, value: Any, argument: str | None = None) -> str:
        parameter = self.endpoint.parameters[name]
        try:
            text = values.NORMALISERS[parameter.kind](parameter, value)
        except InvalidEvent as error:
            raise AdjustConfigurationError(f"{argument or name}: {error.detail}") from None
        if not text:
            # A template of a value that is not set renders to a word such as None.
            raise AdjustConfigurationError(f"{argument or name} is {quote(value)}; leave it out, or give a value")
        return text

    def parse(self, row: Row, *, now: datetime | None = None, count_equal: CountEqual | None = None) -> Event:
        """Return the event that the row describes, or raise ``InvalidEvent``.

        :raises AdjustConfigurationError: the row is a rejected line of another endpoint.
        :param now: the time from which age is measured; the clock's by default.
        :param count_equal: called for an event without ``id_field``. It is a callback, since only the reader of all rows can
            number equal events, and the event id must be known before it is added to ``callback_params``.
        """
        if type(row) is not dict:
            _check_is_row(row, self.endpoint)
        event_id = None
        try:
            event_id = self._ids.of(row)
            return self._parse(row, event_id, now or datetime.now(UTC), count_equal)
        except InvalidEvent as error:
            error.event_id = event_id
            raise
        except VALUE_ERRORS as error:
            # A value that cannot be read (a number of 5,000 digits, an object that raises) refuses its own row only.
            raise InvalidEvent(
                "unreadable_row",
                f"a value of the row cannot be read ({type(error).__name__}); cast it to text or to a number",
                event_id=event_id,
            ) from None

    @property
    def left_out_columns(self) -> Collection[str]:
        """The columns that ``ignore_columns`` has left out of the rows so far."""
        return self.columns.left_out.keys()

    def lacks_id_column(self, row: Any) -> bool:
        """Whether the row lacks the columns that ``id_field`` names."""
        return self._ids.lacks_column(row)

    def _parse(self, row: Row, event_id: str | None, now: datetime, count_equal: CountEqual | None) -> Event:
        given: dict[str, str] = {}
        #: One part of the body for each given parameter.
        parts = [*self._encoded_defaults]
        left_out: list[str] = []
        moments: list[datetime] = []
        named: dict[str, str] = {}
        for column, value in zip(self.columns.of(row), row.values(), strict=True):
            name, kind, parameter, normalise, clean, encoded_name = column
            if clean is not None and (text := clean(value)) is not None:
                given[name] = text
                parts.append(encoded_name + text)
            elif value is None or kind in _NOT_SENT or _is_absent(value, kind):
                continue
            elif normalise is not None:
                text = self._normalised(normalise, parameter, value)
                if text:
                    given[name] = text
                    parts.append(encoded_name + encoded(text))
                elif text is None:
                    left_out.append(name)
            elif kind == "time":
                moments.append(times.read_time(name, value, self._zone))
            elif token := self._event_token_of(value):
                named["event_token"] = token
                parts.append(f"event_token={token}")
        # A value of the row overrides the token of its event name, which overrides the defaults.
        params = {**self._defaults, **named, **given}
        occurred_at = self._check_time(moments, now)
        if moments:
            second = params["created_at_unix"] = str(int(occurred_at.timestamp()))
            parts.append(f"created_at_unix={second}")
        device_ids, amount = self._check_names(params)
        if self._revenue_limit:
            self._revenue_limit.check(params)

        unkeyed_id = self._unkeyed_id(row, event_id, params, occurred_at, count_equal)
        if unkeyed_id is not None:
            event_id = self.digest_keys.newest.event_id(unkeyed_id)
        assert event_id is not None  # noqa: S101 - for mypy: without an id in the row there is the digest
        own_params = None if self._event_id_param is None else params
        if self._event_id_param is not None:
            params, part = self._with_event_id(params, event_id, self._event_id_param)
            parts.append(part)
        # A parameter given by both the row and an option is sent once.
        body = "&".join(parts) if len(parts) == len(params) else form_encoded(params)
        if len(body) > self.endpoint.max_bytes:
            raise InvalidEvent(
                "too_large", f"the request would have {len(body):,} bytes; Adjust takes {self.endpoint.max_bytes:,}"
            )
        return Event(
            params,
            body,
            occurred_at,
            event_id,
            self._lanes(params, device_ids),
            tuple(left_out),
            self.endpoint,
            unkeyed_id,
            own_params,
            None if amount is None else Decimal(params[amount]),
        )

    def _normalised(self, normalise: values.Normalise, parameter: Parameter, value: Any) -> str | None:
        try:
            return normalise(parameter, value)
        except VALUE_ERRORS:
            if not (self._leaves_out_bad and parameter.optional):
                raise
            return None

    def _unkeyed_id(
        self,
        row: Row,
        event_id: str | None,
        params: Mapping[str, str],
        occurred_at: datetime,
        count_equal: CountEqual | None,
    ) -> str | None:
        """The input of the keyed digest that is the event's id; None if the row has an id."""
        if self.endpoint.state is not None:
            # By the first of its ids in the order of the schema: further ids do not make it another device.
            name = next(
                name for name in self.endpoint.parameters if name in self.endpoint.device_ids and name in params
            )
            return unkeyed_digest({name: params[name]})
        if event_id is None:
            digest = unkeyed_digest(params)
            equal_before = count_equal(digest, occurred_at) if count_equal else 0
            return unkeyed_digest({"first": digest, "ordinal": str(equal_before)}) if equal_before else digest
        if not isinstance(row, ResubmittedRow):
            return None
        if row.unkeyed_id is None and self.ids_are_digests and event_id == unkeyed_digest(params):
            return event_id  # a file of an older version, which made ids without a key
        return row.unkeyed_id

    def _event_token_of(self, event: Any) -> str:
        """The token of an event's name; empty if the name is the word null."""
        try:
            return self._event_tokens[event]
        except (KeyError, TypeError):
            if isinstance(event, str) and values.is_null_word(event.strip()):
                return ""
            known = ", ".join(sorted(self._event_tokens))
            raise InvalidEvent(
                "unknown_event", f"event {quote(event)} has no token in event_tokens; known: {known}"
            ) from None

    def _check_time(self, moments: Sequence[datetime], now: datetime) -> datetime:
        if not moments and self.endpoint.time != "required":
            return now
        if not moments:
            raise InvalidEvent(
                "missing_created_at",
                "the row has no created_at or created_at_unix; Adjust would record the time of receipt"
                f"{', and the order would be lost' if self.endpoint.ordered else ' instead'}",
            )
        # If both name the same second, the later one has the fraction that decides the order.
        occurred_at = max(moments)
        if len(moments) > 1 and int(min(moments).timestamp()) != int(occurred_at.timestamp()):
            raise InvalidEvent(
                "conflicting_created_at", "created_at and created_at_unix name different seconds; give only one"
            )
        age, max_age = now - occurred_at, self.endpoint.max_age
        if max_age is not None and age > max_age:
            raise InvalidEvent(
                "expired",
                f"the {self.endpoint.title} is {age.days} days old; Adjust takes none older than {max_age.days}",
                occurred_at=occurred_at,
            )
        if age >= -self.endpoint.max_ahead:
            return occurred_at
        raise InvalidEvent(
            "created_at_in_future",
            f"created_at lies {-age} ahead of now; check its time zone (times without an offset are read in `timezone`)",
            occurred_at=occurred_at,
        )

    def _with_event_id(self, params: dict[str, str], event_id: str, key: str) -> tuple[dict[str, str], str]:
        """The parameters with the event's id in the callback parameters, and the encoded callback parameters."""
        if self._has_plain_key and "callback_params" not in params and needs_no_encoding(event_id):
            before, after = self._around_id
            encoded_before, encoded_after = self._encoded_around_id
            text = f"{before}{event_id}{after}"
            return {**params, "callback_params": text}, f"{encoded_before}{event_id}{encoded_after}"
        parameter = self.endpoint.parameters["callback_params"]
        sent = params.get("callback_params")
        entries = values.load_object("callback_params", sent) if sent else {}
        if entries.get(key, event_id) != event_id:
            raise InvalidEvent(
                "invalid_callback_params",
                f"callback_params already has the key {quote(key)}, under which the event id is sent; name another key in "
                "event_id_param, or None",
            )
        text = values.flat_object(parameter, {**entries, key: event_id})
        return {**params, "callback_params": text}, f"callback_params={encoded(text)}"

    def _check_names(self, params: Mapping[str, str]) -> _Names:
        """Check the rules between parameters, once for each set of names; return the names of ids and amount."""
        given = tuple(params)
        names = self._names.get(given)
        if names is None:
            check_rules(params, self.endpoint)
            names = _Names(
                tuple(name for name in given if name in self.endpoint.device_ids),
                next((name for name in self.endpoint.amounts if name in params), None),
            )
            if len(self._names) >= MOST_SHAPES:
                self._names.clear()
            self._names[given] = names
        return names

    def _lanes(self, params: Mapping[str, str], device_ids: tuple[str, ...]) -> tuple[Lane, ...]:
        endpoint = self.endpoint
        if not endpoint.ordered:
            return ()
        key, app = params.get(endpoint.key, "") if endpoint.key else "", params["app_token"]
        if len(device_ids) == 1:
            return (Lane(device_ids[0], params[device_ids[0]], key, app),)
        return tuple([Lane(name, params[name], key, app) for name in device_ids])


def parse_event(
    row: Row,
    options: RowOptions | None = None,
    *,
    now: datetime | None = None,
    digest_keys: bytes | Sequence[bytes] = (),
) -> Event:
    """Turn one row into an event, or raise ``InvalidEvent`` with a reason and the remedy.

    .. code-block:: python

        from datetime import UTC, datetime

        from airflow_provider_adjust.s2s import RowOptions, parse_event

        event = parse_event(
            {"gps_adid": "38400000-8cf0-11bd-b23e-10b96e40000d", "created_at": "2026-05-01T12:00:00Z"},
            RowOptions(app_token="4w565xzmb54d", event_token="f0ob4r", environment="sandbox"),
            now=datetime(2026, 5, 2, tzinfo=UTC),
        )
        print(event.event_id, event.params)

    :param row: a mapping of Adjust's parameter names to values. None, NaN and empty text leave a parameter out.
    :param options: how the row is read.
    :param now: the time from which the event's age is measured; the current time by default.
    :param digest_keys: secrets for the ids of rows without ``id_field``, the newest first, as in ``EventParser``.
    :raises InvalidEvent: Adjust would not accept the row as an event.
    :raises AdjustConfigurationError: an option cannot be used, whatever the row.
    """
    return EventParser(options, digest_keys=digest_keys).parse(row, now=now)


def _check_is_row(row: Any, endpoint: Endpoint) -> None:
    if isinstance(row, UnreadableRow):
        raise InvalidEvent(row.reason, row.problem)
    if not isinstance(row, Mapping):
        raise InvalidEvent("not_a_row", f"a row is a mapping of parameter names to values, not a {type(row).__name__}")
    if isinstance(row, ResubmittedRow) and row.endpoint not in (None, endpoint.name):
        # With ignore_columns="*" it would be an event without its money.
        raise AdjustConfigurationError(
            f"the rejected line of {quote(row.event_id)} is of endpoint={quote(row.endpoint)}, and endpoint is "
            f"{endpoint.name!r}; set endpoint to that of the line"
        )


def _is_absent(value: Any, kind: str) -> bool:
    """Whether the value is missing. NaN as an amount is not: the event would be sent without revenue."""
    return values.is_missing(value) and not (kind == "money" and values.is_nan(value))


def unkeyed_digest(params: Mapping[str, str]) -> str:
    """A digest without a key. It never leaves the process."""
    canonical = "\x1e".join(f"{name}\x1f{params[name]}" for name in sorted(params))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def _check_event_tokens(options: RowOptions, endpoint: Endpoint) -> None:
    """Refuse event tokens for an endpoint that does not take them: the caller meant another endpoint."""
    if endpoint.has_tokens:
        return
    for argument in ("event_token", "event_tokens"):
        if getattr(options, argument):
            raise AdjustConfigurationError(
                f"{argument} cannot be given with endpoint={endpoint.name!r}: {endpoint.title} has no event token; leave it out"
            )


_WHERE_TO_SET = {
    "environment": "set it to production or sandbox in the connection, the operator or the row",
    "app_token": "set it in the connection, the operator or the row",
    "ad_impressions_count": "select it, or 1 AS ad_impressions_count if each row is one impression",
}
_HINTS = {"currency": ", an ISO 4217 code such as USD"}


def check_rules(params: Mapping[str, str], endpoint: Endpoint) -> None:
    """Raise ``InvalidEvent`` for the first rule of the endpoint's schema that the parameters violate."""
    if not endpoint.rules.accept(params):
        # The schema library explains the violation; it is far too slow to validate every event.
        errors = endpoint.validator.iter_errors(params)
        raise _explain(next(error for error in errors if error.validator in _RULES), params, endpoint)


_RULES = frozenset({"required", "anyOf", "dependentRequired", "not"})


def _explain(error: ValidationError, params: Mapping[str, str], endpoint: Endpoint) -> InvalidEvent:
    rule: Any = error.validator_value
    if error.validator == "required":
        name = next(name for name in rule if name not in params)
        where = _WHERE_TO_SET.get(name, "set it in the operator or the row")
        return InvalidEvent(f"missing_{name}", f"the {endpoint.title} has no {name}; {where}")
    if error.validator == "anyOf":
        names = [name for choice in rule for name in choice["required"]]
        if endpoint.device_ids.isdisjoint(names):
            return InvalidEvent(f"missing_{names[0]}", f"the row has no {' and no '.join(names)}; select one of them")
        return InvalidEvent(
            "missing_device_id",
            "the row has no usable device id; give at least one, such as gps_adid, idfa, idfv or adid",
        )
    if error.validator == "dependentRequired":
        name, needed = next(
            (name, each) for name in rule if name in params for each in rule[name] if each not in params
        )
        return InvalidEvent(f"missing_{needed}", f"{name} needs {needed}{_HINTS.get(needed, '')}")
    first, *others = rule["required"]
    return InvalidEvent(f"conflicting_{first}", f"give {first} or {' or '.join(others)}, never both")
