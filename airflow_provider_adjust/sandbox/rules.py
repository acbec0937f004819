"""What Adjust answers to an event or to ad revenue: its documented rules, in the order in which they are checked.

Pure code: a request and its time of arrival in, an answer out. Sources are Adjust's "S2S events", "Ad revenue", "S2S security"
and "Device identifiers" pages. Comments note what these pages leave open.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.state import SandboxState, parse_form

DEVICE_ID_NAMES = (
    "gps_adid", "idfa", "adid", "fire_adid", "oaid", "web_uuid", "idfv", "android_id",
    "android_id_lower_md5", "android_id_lower_sha1", "android_id_upper_md5", "android_id_upper_sha1",
    "imei", "imei_lower_md5", "meid", "win_naid", "win_hwid", "win_adid", "external_device_id", "google_app_set_id",
    "rida", "vida", "tifa",
    "gps_adid_upper_md5", "gps_adid_lower_md5", "gps_adid_upper_sha1", "gps_adid_lower_sha1",
    "idfa_lower_md5", "idfa_lower_sha1", "idfa_upper_md5", "idfa_upper_sha1", "idfa_short", "oaid_lower_md5",
)  # fmt: skip

# "1 MB" in the documentation; the smaller reading, so that what passes here passes under both.
MAX_REQUEST_BYTES = 1_000_000
MAX_REVENUE = decimal.Decimal(100_000_000_000)

_TOKEN = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
# Ten digits reach the year 2286: a longer number is milliseconds.
_SECONDS = re.compile(r"[0-9]{1,10}", re.ASCII)
# Every spelling in the documentation: "...05.000+0000", "...05Z+0200" and "...05.000Z+0200".
_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z?([+-]\d{4})", re.ASCII)


class EndpointRules(NamedTuple):
    """What differs between Adjust's endpoints.

    ``key`` and ``amounts`` name parameters; ``constants``, ``counts`` and ``choices`` are demanded, ``needs_amount`` says whether
    an amount is. ``failure`` is how an error begins.
    """

    name: str
    key: str | None
    ordered: bool
    max_age: datetime.timedelta
    amounts: tuple[str, ...] = ()
    min_amount: decimal.Decimal = decimal.Decimal(0)
    needs_amount: bool = False
    constants: tuple[tuple[str, str], ...] = ()
    counts: tuple[str, ...] = ()
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()
    failure: str = "Event request failed"


EVENT_RULES = EndpointRules(
    name="event",
    key="event_token",
    ordered=True,
    max_age=datetime.timedelta(days=58),
    amounts=("revenue",),
    min_amount=decimal.Decimal("0.001"),
)
# The page states no smallest amount, so there is none.
AD_REVENUE_RULES = EndpointRules(
    name="ad_revenue",
    key=None,
    ordered=False,
    max_age=datetime.timedelta(days=28),
    amounts=("revenue", "amount"),
    min_amount=decimal.Decimal(0),
    needs_amount=True,
    constants=(("source", "publisher"),),
    counts=("ad_impressions_count",),
    failure="Ad revenue request failed",
)
# The page names neither a time nor an environment, and no form of the granular settings that is certain.
SHARING_RULES = EndpointRules(
    name="third_party_sharing",
    key=None,
    ordered=True,
    max_age=datetime.timedelta(days=58),
    choices=(("sharing", ("enable", "disable")),),
    failure="Third party sharing failed",
)
#: The rules by the path of a request.
RULES = {"/event": EVENT_RULES, "/ad_revenue": AD_REVENUE_RULES, "/third_party_sharing": SHARING_RULES}


class Answer(NamedTuple):
    """A status, and what went wrong (None when nothing did)."""

    status: int
    message: str | None = None


@dataclass(slots=True)
class EventRequest:
    """A request as it arrived; `raw` holds all its parameters, URL-encoded."""

    raw: bytes
    authorization: str | None
    received_at: float
    rules: EndpointRules = EVENT_RULES
    params: dict[str, str] = field(init=False)
    ids: dict[str, str] = field(init=False)
    lanes: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.params = parse_form(self.raw)
        self.ids = {name: value for name, value in self.params.items() if name in _ID_NAME_SET and value}
        key = self.params.get(self.rules.key, "") if self.rules.key else ""
        ids = self.ids.items() if self.rules.ordered else ()
        self.lanes = tuple([SandboxState.lane(name, value, key) for name, value in ids])


_ID_NAME_SET = frozenset(DEVICE_ID_NAMES)


def judge(request: EventRequest, config: SandboxConfig, state: SandboxState) -> Answer:
    """Answer a request, and record its event when the answer is 200."""
    params = request.params
    refusal = (
        _authorisation(request.authorization, request.rules, config)
        or _server_to_server(params)
        or _app(params, config)
        or _key(params, request.rules, config)
        or _demanded(params, request.rules)
        or _device(request.ids, config)
        or _erasure(request, state)
        or _environment(params)
        or _size(request.raw)
        or _amount(params, request.rules)
        or _custom_data(params)
    )
    if refusal:
        return refusal
    time = event_time(params, request.received_at, request.rules.max_age)
    if isinstance(time, Answer):
        return time
    refusal = _order(request, time, config, state)
    if refusal:
        return refusal
    state.record(request.raw, params, request.ids, request.lanes, time, request.received_at, request.rules.name)
    return Answer(200)


def is_unknown_device(id_value: str, config: SandboxConfig) -> bool:
    """Return whether Adjust has never seen the device."""
    return id_value in config.unknown_devices or _is_in_unknown_share(id_value, config)


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an `Authorization: Bearer` header; None without such a header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _authorisation(authorization: str | None, rules: EndpointRules, config: SandboxConfig) -> Answer | None:
    if not config.tokens or rules.name in config.open_endpoints:
        return None
    token = bearer_token(authorization)
    if token is not None and token in config.tokens:
        if rules.name in config.token_scopes.get(token, (rules.name,)):
            return None
        return Answer(401, "Session failed")
    if config.enforce:
        return Answer(401, "Failed to authorize request")
    return Answer(202, "Wrong authentication token" if token else "Missing authentication token")


def _server_to_server(params: dict[str, str]) -> Answer | None:
    if params.get("s2s") != "1":
        return Answer(400, "Bad event state: parameter s2s=1 is missing")
    return None


def _app(params: dict[str, str], config: SandboxConfig) -> Answer | None:
    app_token = params.get("app_token", "")
    if not _TOKEN.fullmatch(app_token):
        return Answer(400, "Invalid app token")
    if config.app_tokens is not None and app_token not in config.app_tokens:
        return Answer(404, "App token not found")
    if app_token in config.inactive_app_tokens:
        return Answer(403, "App is inactive")
    return None


def _key(params: dict[str, str], rules: EndpointRules, config: SandboxConfig) -> Answer | None:
    if rules.key is None:
        return None
    event_token = params.get(rules.key, "")
    if _TOKEN.fullmatch(event_token) and (config.event_tokens is None or event_token in config.event_tokens):
        return None
    return Answer(400, "Invalid event token")


def _demanded(params: dict[str, str], rules: EndpointRules) -> Answer | None:
    # Adjust's page names no error for these; the one of /event is taken.
    for name, value in rules.constants:
        if params.get(name) != value:
            return Answer(400, f"Bad event state: {name} is not {value}")
    for name in rules.counts:
        if not _COUNT.fullmatch(params.get(name, "")):
            return Answer(400, f"Bad event state: {name} is not a whole number")
    for name, choices in rules.choices:
        if params.get(name) not in choices:
            return Answer(400, f"Bad event state: {name} is not {' or '.join(choices)}")
    return None


def _device(ids: dict[str, str], config: SandboxConfig) -> Answer | None:
    if not ids:
        return Answer(400, "Bad event state: no device id")
    # One listed id is enough. The share goes by one id only, or a device with more ids would be unknown more often.
    first = next(ids[name] for name in DEVICE_ID_NAMES if name in ids) if config.unknown_share else ""
    if any(value in config.unknown_devices for value in ids.values()) or _is_in_unknown_share(first, config):
        return Answer(404, "Device not found")
    if any(value in config.opted_out_devices for value in ids.values()):
        return Answer(451, "Device is opted out")
    return None


def _erasure(request: EventRequest, state: SandboxState) -> Answer | None:
    return Answer(451, "Device is opted out") if state.is_erased(request.params, request.ids) else None


def _is_in_unknown_share(id_value: str, config: SandboxConfig) -> bool:
    if not config.unknown_share:
        return False
    digest = hashlib.blake2b(id_value.encode(), digest_size=8).digest()
    return int.from_bytes(digest) < config.unknown_share * 2**64


def _environment(params: dict[str, str]) -> Answer | None:
    if params.get("environment", "production") not in ("sandbox", "production"):
        return Answer(400, "Bad event state: environment is neither sandbox nor production")
    return None


def _size(raw: bytes) -> Answer | None:
    return Answer(413, "Request size too large") if len(raw) > MAX_REQUEST_BYTES else None


def _amount(params: dict[str, str], rules: EndpointRules) -> Answer | None:
    given = [params[name] for name in rules.amounts if name in params]
    if not given and not rules.needs_amount:
        return None
    if len(given) != 1:
        return Answer(400, "Invalid revenue")
    [text] = given
    # Only plain digits are documented: an exponent is refused so that no sender relies on it.
    if not _DECIMAL.fullmatch(text) or not _CURRENCY.fullmatch(params.get("currency", "")):
        return Answer(400, "Invalid revenue")
    return None if rules.min_amount <= decimal.Decimal(text) <= MAX_REVENUE else Answer(400, "Invalid revenue")


def _custom_data(params: dict[str, str]) -> Answer | None:
    for name in ("callback_params", "partner_params"):
        if name in params and not _is_flat_text_object(params[name]):
            return Answer(400, "Invalid callback parameters")
    return None


def _is_flat_text_object(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def event_time(
    params: dict[str, str], received_at: float, max_age: datetime.timedelta = EVENT_RULES.max_age
) -> float | Answer:
    """Return when the event happened; without a time that is when it was received.

    `created_at_unix` is the recommended one, so it decides when a request carries both.
    """
    if (text := params.get("created_at_unix")) is not None:
        if not _SECONDS.fullmatch(text):
            return Answer(400, "Bad event state: created_at_unix is not whole seconds")
        time = float(text)
    elif (text := params.get("created_at")) is not None:
        try:
            time = _documented_time(text)
        except ValueError:
            return Answer(400, "Bad event state: created_at is not a documented time format")
    else:
        return received_at
    if time < received_at - max_age.total_seconds():
        return Answer(400, f"Bad event state: created_at older than {max_age.days} days")
    return time


def _documented_time(text: str) -> float:
    match = _ISO_TIME.fullmatch(text)
    if not match:
        raise ValueError
    return datetime.datetime.fromisoformat(match[1] + match[2]).timestamp()


def _order(request: EventRequest, time: float, config: SandboxConfig, state: SandboxState) -> Answer | None:
    last_times = [last for lane in request.lanes if (last := state.last_time(lane)) is not None]
    if any(time < last for last in last_times):
        state.order_violations += 1
        return Answer(400, "Bad event state: created_at earlier than last event")
    if last_times and request.rules.key and request.params[request.rules.key] in config.unique_event_tokens:
        return Answer(400, "Ignoring event, earlier unique event tracked")
    return None
