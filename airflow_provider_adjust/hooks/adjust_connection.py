"""The fields of an ``adjust`` connection, checked: endpoints, tokens, environment, timeouts.

The hook is in another module, since sensors and triggers read connections and must not import the sender.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from airflow_provider_adjust import connection_form
from airflow_provider_adjust.adjust_api.device import DeviceApi
from airflow_provider_adjust.adjust_api.reports import ReportService
from airflow_provider_adjust.allowed_hosts import configured_hosts
from airflow_provider_adjust.hooks.base_url import base_url
from airflow_provider_adjust.reconcile.report_client import ReportClient
from airflow_provider_adjust.s2s.endpoints.allowed_hosts import AllowedHosts
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT, Endpoint, endpoint_named
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.values import token
from airflow_provider_adjust.s2s.transports import Target
from airflow_provider_adjust.s2s.transports.settings import is_loopback

#: Seconds. Adjust's support is reported to recommend 1000.
_MAX_REPORT_TIMEOUT = 3600
#: The longest text of a token, with what may be pasted along with it, in characters.
_LONGEST_TOKEN = 4096
#: The regions in the hosts of apps with data residency, such as gdpr.eu.adjust.com.
_REGIONS = frozenset({"eu", "tr", "us"})
#: What may be pasted along with a token: quotes, white space, and words of the header.
_AROUND = r"""[\s"'`“”‘’\u200b\ufeff]"""
_PASTED = re.compile(
    rf"^{_AROUND}+|(?<!{_AROUND}){_AROUND}+$|^authorization\s*[:=]|^bearer(?=$|{_AROUND}|[:=])\s*[:=]?", re.IGNORECASE
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdjustConnection:
    """The fields of one connection, each as it will be used."""

    conn_id: str
    endpoint: str
    s2s_token: str | None = field(repr=False)
    app_token: str | None = field(repr=False)
    environment: str | None
    timeout: tuple[float, float]
    api_endpoint: str = connection_form.DEFAULT_API_ENDPOINT
    report_endpoint: str = connection_form.DEFAULT_REPORT_ENDPOINT
    report_timeout: float = connection_form.DEFAULT_REPORT_TIMEOUT
    api_token: str | None = field(default=None, repr=False)
    digest_key: tuple[str, ...] = field(default=(), repr=False)
    gdpr_url: str = connection_form.DEFAULT_GDPR_URL
    #: The endpoints that the connection test asks.
    endpoints: tuple[Endpoint, ...] = (EVENT,)

    @classmethod
    def read(
        cls,
        connection: Connection,
        *,
        app_token: str | None = None,
        environment: str | None = None,
        timeout: tuple[float, float] | None = None,
    ) -> AdjustConnection:
        """Check the connection's fields. The arguments override them.

        :raises AdjustConfigurationError: a field has a value that cannot be used.
        """
        # Airflow masks the secrets in the extra, such as the API token, when it returns them.
        return cls._checked(
            connection, connection.extra_dejson, app_token=app_token, environment=environment, timeout=timeout
        )

    @classmethod
    def get(cls, conn_id: str, *, app_token: str | None = None, environment: str | None = None) -> AdjustConnection:
        """Read and check the connection with this id.

        :raises AdjustConfigurationError: a field has a value that cannot be used.
        """
        return cls.read(BaseHook.get_connection(conn_id), app_token=app_token, environment=environment)

    @classmethod
    async def aget(
        cls, conn_id: str, *, app_token: str | None = None, environment: str | None = None
    ) -> AdjustConnection:
        """Like ``get``, for triggers: it does not block the event loop.

        :raises AdjustConfigurationError: a field has a value that cannot be used.
        """
        connection = await BaseHook.aget_connection(conn_id)
        # Before Airflow 3.3 there is only the property, which does not block in a trigger.
        extra = await connection.aextra_dejson() if hasattr(connection, "aextra_dejson") else connection.extra_dejson
        return cls._checked(connection, extra, app_token=app_token, environment=environment)

    @classmethod
    def _checked(
        cls,
        connection: Connection,
        extra: Any,
        *,
        app_token: str | None,
        environment: str | None,
        timeout: tuple[float, float] | None = None,
    ) -> AdjustConnection:
        where = f"connection {connection.conn_id!r}"
        extra = extra if isinstance(extra, Mapping) else {}
        s2s_token = _token(connection.password, "S2S security token", where)
        api_token = _token(_text(extra, "api_token", where), "API token", where)
        digest_key = _several(_text(extra, "digest_key", where))
        for secret in (s2s_token, api_token, *digest_key):
            if secret:
                mask_secret(secret)  # for every secrets backend, and every name in the extra
        hosts = configured_hosts()
        return cls(
            conn_id=connection.conn_id,
            endpoint=base_url(connection.host, connection.port, where, allowed_hosts=hosts),
            s2s_token=s2s_token,
            app_token=app_token or _text(extra, "app_token", where),
            environment=environment or _text(extra, "environment", where),
            timeout=timeout
            or (
                _seconds(extra, "connect_timeout", connection_form.DEFAULT_CONNECT_TIMEOUT, where),
                _seconds(extra, "read_timeout", connection_form.DEFAULT_READ_TIMEOUT, where),
            ),
            api_endpoint=_extra_endpoint(extra, "api_endpoint", connection_form.DEFAULT_API_ENDPOINT, where, hosts),
            report_endpoint=_extra_endpoint(
                extra, "report_endpoint", connection_form.DEFAULT_REPORT_ENDPOINT, where, hosts
            ),
            report_timeout=_seconds(
                extra, "report_timeout", connection_form.DEFAULT_REPORT_TIMEOUT, where, most=_MAX_REPORT_TIMEOUT
            ),
            api_token=api_token,
            digest_key=digest_key,
            gdpr_url=_extra_endpoint(extra, "gdpr_url", connection_form.DEFAULT_GDPR_URL, where, hosts),
            endpoints=_endpoints(_text(extra, "endpoints", where), where),
        )

    @property
    def target(self) -> Target:
        """The destination of events."""
        return self.target_of(EVENT)

    def target_of(self, endpoint: Endpoint) -> Target:
        """The destination of the events of one endpoint."""
        return Target(self.endpoint + endpoint.path, self.s2s_token)

    def app(self) -> tuple[str, str]:
        """The app token and the environment that events are sent with. Records about devices are stored under them.

        :raises AdjustConfigurationError: one is missing or invalid.
        """
        where = f"connection {self.conn_id!r}"
        try:
            app_token = token(EVENT.parameters["app_token"], self.app_token or "") if self.app_token else ""
        except InvalidEvent as refusal:
            raise AdjustConfigurationError(f"{where}: {refusal.detail}") from None
        if not app_token:
            raise AdjustConfigurationError(f"{where} needs an app token, or name one as app_token")
        if self.environment not in connection_form.ENVIRONMENTS:
            raise AdjustConfigurationError(
                f"{where} needs an environment, production or sandbox, or name one as environment: without it, Adjust would "
                "take production"
            )
        return app_token, self.environment

    def erasure_url(self) -> str:
        """The URL for erasures. It must be in the app's region: elsewhere, Adjust answers 200 for devices that it does not know.

        :raises AdjustConfigurationError: events are sent to a stand-in or a region, but erasures would be sent elsewhere.
        """
        sends_to, erases_at = self.target.host, Target(self.gdpr_url).host
        if is_loopback(self.endpoint) and not is_loopback(self.gdpr_url):
            raise AdjustConfigurationError(
                f"connection {self.conn_id!r} sends events to {sends_to}, but would erase devices for good at {erases_at}: set "
                "gdpr_url to the stand-in, too"
            )
        if (region := _region(sends_to)) and region != _region(erases_at):
            raise AdjustConfigurationError(
                f"connection {self.conn_id!r} sends events to {sends_to}, but would erase at {erases_at}, which does not know "
                f"the app's devices: set gdpr_url, such as https://gdpr.{region}.adjust.com"
            )
        return self.gdpr_url

    @property
    def digest_secrets(self) -> tuple[bytes, ...]:
        """The secrets for digests of row data, newest first. The S2S token is the last one, and the only one without a
        ``digest_key``: so setting a key later does not change the identity of any event. Empty without both.
        """
        secrets = (*self.digest_key, *([self.s2s_token] if self.s2s_token else []))
        return tuple(secret.encode() for secret in secrets)

    def device_api(self) -> DeviceApi | None:
        """The Device API; None without an API token."""
        return DeviceApi(self.api_endpoint, self.api_token) if self.api_token else None

    def device_account(self) -> tuple[DeviceApi, str, str]:
        """The Device API, the app token and the API token.

        :raises AdjustConfigurationError: the API token or the app token is missing.
        """
        device_api = self.device_api()
        if device_api is None or self.app_token is None:
            raise AdjustConfigurationError(
                f"connection {self.conn_id!r} needs an API token and an app token for the Device API"
            )
        return device_api, self.app_token, device_api.api_token

    def inspect_device(self, device_id: str) -> dict[str, Any]:
        """Return what Adjust's Device API knows about a device.

        :raises AdjustConfigurationError: the API token or the app token is missing.
        :raises DeviceApiError: the API gave no usable answer.
        """
        device_api, app_token, _ = self.device_account()
        mask_secret(device_id)  # a log at level DEBUG could show it in the URL
        return device_api.inspect_device(device_id, app_token)

    def report_client(self) -> ReportClient:
        """A client for reports on this connection's app.

        :raises AdjustConfigurationError: the API token, the app token or the environment is missing.
        """
        where = f"connection {self.conn_id!r}"
        if self.api_token is None:
            raise AdjustConfigurationError(f"{where} needs an API token for the Report Service")
        if self.app_token is None:
            raise AdjustConfigurationError(
                f"{where} needs an app token for the Report Service, or name one as app_token"
            )
        if self.environment not in connection_form.ENVIRONMENTS:
            raise AdjustConfigurationError(
                f"{where} needs an environment for the Report Service: production or sandbox, or name one as environment"
            )
        return ReportClient(self.report_service(), self.app_token, self.environment)

    def report_service(self, timeout: tuple[float, float] | None = None) -> ReportService:
        """The Report Service. Its responses take minutes, so it has its own read timeout."""
        return ReportService(
            self.report_endpoint, self.api_token or "", timeout=timeout or (self.timeout[0], self.report_timeout)
        )


def _token(given: str | None, name: str, where: str) -> str | None:
    """The token alone, without quotes, the header's ``Bearer`` or white space that were pasted along with it."""
    given = given or ""
    if len(given) > _LONGEST_TOKEN:
        raise AdjustConfigurationError(f"{where}: the {name} has {len(given):,} characters; no token is so long")
    token = given
    while (bare := _PASTED.sub("", token)) != token:
        token = bare
    if token != given:
        _log.warning(
            "%s: the quotes, the Bearer or the white space around the %s are ignored; remove them", where, name
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise AdjustConfigurationError(f"{where}: the {name} holds characters that no token has")
    return token or None


def _region(host: str) -> str | None:
    """The data region in a host of Adjust; None if it has none."""
    labels = host.rstrip(".").split(".")
    return next((label for label in labels if label in _REGIONS), None) if labels[-2:] == ["adjust", "com"] else None


def _extra_endpoint(extra: Mapping[str, Any], name: str, default: str, where: str, hosts: AllowedHosts) -> str:
    return base_url(_text(extra, name, where) or default, None, where, name, allowed_hosts=hosts)


def _text(extra: Mapping[str, Any], name: str, where: str) -> str | None:
    value = extra.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a connection URI turns a token of digits into a number
    if not isinstance(value, str):
        raise AdjustConfigurationError(f"{where}: {name} must be text; in a URI, write it as JSON in __extra__")
    return value.strip() or None


def _several(text: str | None) -> tuple[str, ...]:
    """The parts between commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _endpoints(text: str | None, where: str) -> tuple[Endpoint, ...]:
    try:
        return tuple(endpoint_named(name, "endpoints") for name in dict.fromkeys(_several(text))) or (EVENT,)
    except AdjustConfigurationError as error:
        raise AdjustConfigurationError(f"{where}: {error}") from None


def _seconds(extra: Mapping[str, Any], name: str, default: float, where: str, *, most: int = 600) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return float(default)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= most:
        raise AdjustConfigurationError(f"{where}: {name} must be a number of seconds, above 0 and at most {most}")
    return seconds
