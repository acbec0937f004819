"""The settings of a sandbox: one immutable value, which a change replaces as a whole.

The same names serve Python (`SandboxConfig(tokens=["T"])`), the command line (`--token T`) and
`POST /_sandbox/config` (`{"tokens": ["T"]}`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from airflow_provider_adjust.sandbox.faults import check_kind, check_report_kind, parse_faults

_NAME_SETS = (
    "tokens",
    "api_tokens",
    "unique_event_tokens",
    "unknown_devices",
    "opted_out_devices",
    "inactive_app_tokens",
    "open_endpoints",
)
_OPTIONAL_NAME_SETS = ("app_tokens", "event_tokens")
_SWITCHES = ("enforce", "keep_events")
_SECONDS = ("latency", "stall_seconds", "slow_seconds", "report_delay")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """The settings of a sandbox. The defaults accept everything that Adjust could accept.

    :param tokens: S2S security tokens that are accepted; none means that S2S authentication is switched off.
    :param enforce: answer 401 to a missing or wrong token; False answers 202 and records nothing.
    :param token_scopes: the endpoints of each token, `{"T": ["event"]}`; a token that is not named is good for all of them.
    :param open_endpoints: endpoints, such as `ad_revenue`, on which S2S authentication is not enforced.
    :param app_tokens: the apps that exist; None means any.
    :param event_tokens: the events that exist; None means any.
    :param unique_event_tokens: events that count once per device.
    :param unknown_devices: device id values that are answered 404 `Device not found`.
    :param unknown_share: share (0 to 1) of further devices that are unknown, selected by a hash of the id value.
    :param opted_out_devices: device id values that are answered 451 `Device is opted out`.
    :param inactive_app_tokens: apps that are answered 403 `App is inactive`.
    :param api_tokens: tokens of the Device API and the Report Service; none means any or no token at all.
    :param latency: seconds from the arrival of a request to its answer.
    :param faults: share of requests per fault, `{"503": 0.02}` or `"503=0.02,firewall=0.01"`.
    :param fault_plan: faults for the next requests, one each, None for a request without one; takes precedence over `faults`.
    :param seed: seed of the random faults, which makes them reproducible.
    :param retry_after: seconds in the `Retry-After` header of 429 and 503; None sends no header.
    :param stall_seconds: how long a stalled connection stays open without an answer.
    :param slow_seconds: how long a slow answer takes.
    :param keep_events: False keeps counters, last times and hashes only, for runs of many millions of events.
    :param event_slugs: names of events in reports by event token; an event without one is named `event_` and its token.
    :param report_delay: seconds from the arrival of an event until reports show it.
    :param report_faults: share of report requests per fault, as in `faults`: `204`, a status, `fewer` or `more`.
    :param report_fault_plan: faults for the next report requests, as in `fault_plan`.
    :param exports_folder: where `POST /_sandbox/exports` writes raw data exports; None refuses it.
    :param erasures_per_minute: how many erasures are answered in a minute; the others are answered 429.
    :param clock: seconds since the epoch; replace it to freeze time.
    :raises TypeError: for an unknown setting or a value of the wrong type, such as one text in place of a list.
    :raises ValueError: for a value out of its range.
    """

    tokens: Collection[str] = ()
    enforce: bool = True
    token_scopes: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)
    open_endpoints: Collection[str] = ()
    app_tokens: Collection[str] | None = None
    event_tokens: Collection[str] | None = None
    unique_event_tokens: Collection[str] = ()
    unknown_devices: Collection[str] = ()
    unknown_share: float = 0.0
    opted_out_devices: Collection[str] = ()
    inactive_app_tokens: Collection[str] = ()
    api_tokens: Collection[str] = ()
    latency: float = 0.0
    faults: Mapping[str, float] | str = ""
    fault_plan: Sequence[str | None] = ()
    seed: int = 0
    retry_after: float | None = None
    stall_seconds: float = 30.0
    slow_seconds: float = 2.0
    keep_events: bool = True
    event_slugs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    report_delay: float = 0.0
    report_faults: Mapping[str, float] | str = ""
    report_fault_plan: Sequence[str | None] = ()
    exports_folder: str | None = None
    erasures_per_minute: int = 10
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        for name in _NAME_SETS:
            self._set(name, _names(name, getattr(self, name)))
        for name in _OPTIONAL_NAME_SETS:
            if getattr(self, name) is not None:
                self._set(name, _names(name, getattr(self, name)))
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false")
        for name in _SECONDS:
            _check_number(name, getattr(self, name))
        if self.retry_after is not None:
            _check_number("retry_after", self.retry_after)
        _check_number("erasures_per_minute", self.erasures_per_minute)
        _check_number("unknown_share", self.unknown_share, highest=1)
        if self.exports_folder is not None and not (isinstance(self.exports_folder, str) and self.exports_folder):
            raise TypeError("exports_folder must be a path")
        if not isinstance(self.seed, int):
            raise TypeError("seed must be a whole number")
        if not isinstance(self.token_scopes, Mapping):
            raise TypeError("token_scopes must be a mapping of tokens to lists of endpoints")
        scopes = {token: _names("token_scopes", names) for token, names in self.token_scopes.items()}
        self._set("token_scopes", scopes)
        self._set("faults", parse_faults(self.faults))
        self._set("fault_plan", _plan("fault_plan", self.fault_plan, check_kind))
        self._set("report_faults", parse_faults(self.report_faults, check_report_kind))
        self._set("report_fault_plan", _plan("report_fault_plan", self.report_fault_plan, check_report_kind))
        if not isinstance(self.event_slugs, Mapping) or not all(
            isinstance(text, str) for pair in self.event_slugs.items() for text in pair
        ):
            raise TypeError("event_slugs must be a mapping of event tokens to names")

    def changed(self, changes: Mapping[str, object]) -> SandboxConfig:
        """Return a copy with some settings changed.

        :raises TypeError: for an unknown setting.
        """
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise TypeError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _names(setting: str, value: object) -> frozenset[str]:
    # A text is a collection of its characters: `tokens="T1"` would accept "T" and "1" without an error.
    if isinstance(value, str) or not isinstance(value, Collection) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{setting} must be a list of texts")
    return frozenset(value)


def _plan(setting: str, kinds: Sequence[str | None], check: Callable[[str], str]) -> tuple[str | None, ...]:
    if isinstance(kinds, str):
        raise TypeError(f"{setting} must be a list of faults, not one text")
    return tuple(kind if kind is None else check(kind) for kind in kinds)


def _check_number(setting: str, value: object, highest: float = float("inf")) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{setting} must be a number")
    if not 0 <= value <= highest:
        raise ValueError(f"{setting} must be between 0 and {highest}")
