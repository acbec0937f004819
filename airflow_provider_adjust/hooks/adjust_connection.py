"""The fields of an ``adjust`` connection, checked: endpoints, tokens, environment, timeouts.

The hook has a module of its own, because sensors and triggers read connections and must not import what sends.
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
#: Characters of a token with what may be pasted along with it.
_LONGEST_TOKEN = 4096
#: In the hosts of apps with data residency, as those of Adjust's SDKs: gdpr.eu.adjust.com.
_REGIONS = frozenset({"eu", "tr", "us"})
#: What is pasted along with a token: quotes, white space, and the header's own words.
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
    #: What the connection test asks.
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
        """Check the connection's fields; the arguments override them.

        :raises AdjustConfigurationError: a field has a value that cannot be used.
        """
        # Airflow masks the secrets of the extra, the API token included, as it returns them.
        return cls._checked(
            connection, connection.extra_dejson, app_token=app_token, environment=environment, timeout=timeout
        )

    @classmethod
    def get(cls, conn_id: str, *, app_token: str | None = None, environment: str | None = None) -> AdjustConnection:
        """Do the same for a connection id.

        :raises AdjustConfigurationError: a field has a value that cannot be used.
        """
        return cls.read(BaseHook.get_connection(conn_id), app_token=app_token, environment=environment)

    @classmethod
    async def aget(
        cls, conn_id: str, *, app_token: str | None = None, environment: str | None = None
    ) -> AdjustConnection:
        """Do the same from a trigger, which shares its event loop with others.

        :raises AdjustConfigurationError: a field has a value that cannot be used.
        """
        connection = await BaseHook.aget_connection(conn_id)
        # Before Airflow 3.3 there is only the property, which does not block there.
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
                mask_secret(secret)  # for every backend of connections, and every name in the extra
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
        """Where events go."""
        return self.target_of(EVENT)

    def target_of(self, endpoint: Endpoint) -> Target:
        """Where what one of Adjust's endpoints takes goes."""
        return Target(self.endpoint + endpoint.path, self.s2s_token)

    def app(self) -> tuple[str, str]:
        """The app token and the environment, as events are sent with them: what is kept of a device is kept under these.

        :raises AdjustConfigurationError: one is missing, or is none.
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
        """Where devices are erased, which is where the app is: Adjust answers 200 for devices that it does not know.

        :raises AdjustConfigurationError: events go to a stand-in or to a region, and erasures would go to another place.
        """
        sends_to, erases_at = self.target.host, Target(self.gdpr_url).host
        if is_loopback(self.endpoint) and not is_loopback(self.gdpr_url):
            raise AdjustConfigurationError(
                f"connection {self.conn_id!r} sends events to {sends_to}, and would erase devices for good at {erases_at}: set "
                "gdpr_url to the stand-in, too"
            )
        if (region := _region(sends_to)) and region != _region(erases_at):
            raise AdjustConfigurationError(
                f"connection {self.conn_id!r} sends events to {sends_to}, and would erase at {erases_at}, which does not know "
                f"the app's devices: set gdpr_url, such as https://gdpr.{region}.adjust.com"
            )
        return self.gdpr_url

    @property
    def digest_secrets(self) -> tuple[bytes, ...]:
        """What keys the digests of what rows hold, the newest first. The S2S token is the last, and the only one where the
        connection has no ``digest_key``, so that to set one makes no event another. None without both.
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
        """Return what Adjust's Device API knows of a device.

        :raises AdjustConfigurationError: the API token or the app token is missing.
        :raises DeviceApiError: the API gave no usable answer.
        """
        device_api, app_token, _ = self.device_account()
        mask_secret(device_id)  # a log at level DEBUG could show the URL, which holds it
        return device_api.inspect_device(device_id, app_token)

    def report_client(self) -> ReportClient:
        """The reports on this connection's app.

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
    """The token alone, however it was pasted: in quotes, with the header's ``Bearer``, or with white space."""
    given = given or ""
    if len(given) > _LONGEST_TOKEN:
        raise AdjustConfigurationError(f"{where}: the {name} has {len(given):,} characters; no token is so long")
    token = given
    while (bare := _PASTED.sub("", token)) != token:
        token = bare
    if token != given:
        _log.warning("%s: the %s is taken without the quotes, the Bearer or the white space around it", where, name)
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise AdjustConfigurationError(f"{where}: the {name} holds characters that no token has")
    return token or None


def _region(host: str) -> str | None:
    """Where the data of an app with data residency is, by a host of Adjust's; None elsewhere."""
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
