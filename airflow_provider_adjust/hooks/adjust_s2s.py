"""AdjustS2SHook: an Adjust connection, and everything that is sent through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import requests
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_provider_adjust import connection_form
from airflow_provider_adjust.hooks.base_url import base_url
from airflow_provider_adjust.s2s.delivery import OnInDoubt
from airflow_provider_adjust.s2s.device_api import DeviceApi
from airflow_provider_adjust.s2s.endpoint import EVENT
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events import EventParser, Row
from airflow_provider_adjust.s2s.receipts import Receipt
from airflow_provider_adjust.s2s.responses import Outcome, Verdict
from airflow_provider_adjust.s2s.sender import Route, Sender
from airflow_provider_adjust.s2s.transports import Target, Transport
from airflow_provider_adjust.s2s.transports.choice import TransportName, open_transport
from airflow_provider_adjust.s2s.transports.requests_transport import RequestsTransport
from airflow_provider_adjust.s2s.transports.session import BearerToken, new_session
from airflow_provider_adjust.s2s.verdicts import judge

#: How long ``test_connection`` waits at most: it runs in the API server, where a user waits for it.
_TEST_TIMEOUT = (5.0, 10.0)


@dataclass(frozen=True, slots=True)
class AdjustConnection:
    """What an ``adjust`` connection says, checked."""

    endpoint: str
    s2s_token: str | None = field(repr=False)
    app_token: str | None = field(repr=False)
    environment: str | None
    timeout: tuple[float, float]
    api_endpoint: str = connection_form.DEFAULT_API_ENDPOINT
    api_token: str | None = field(default=None, repr=False)

    @property
    def target(self) -> Target:
        return Target(self.endpoint + EVENT.path, self.s2s_token)


class AdjustS2SHook(BaseHook):
    """Sends events to Adjust's S2S API.

    :param adjust_conn_id: the ``adjust`` connection: endpoint, S2S security token, app token, environment, timeouts.
    :param app_token: takes the place of the connection's.
    :param environment: ``production`` or ``sandbox``; takes the place of the connection's. Nothing is assumed: without
        one, each row must name it.
    :param transport: ``auto`` or ``requests``.
    :param max_in_flight: requests that may wait for an answer at once.
    :param max_events_per_second: upper limit of the rate; None sets none.
    :param timeout: seconds to connect and to wait for an answer; takes the place of the connection's.

    .. seealso:: Adjust's documentation of `S2S events <https://dev.adjust.com/en/api/s2s-api/events>`__.
    """

    conn_name_attr = "adjust_conn_id"
    default_conn_name = connection_form.DEFAULT_CONN_ID
    conn_type = connection_form.CONN_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(
        self,
        adjust_conn_id: str = connection_form.DEFAULT_CONN_ID,
        *,
        app_token: str | None = None,
        environment: str | None = None,
        transport: TransportName = "auto",
        max_in_flight: int = 32,
        max_events_per_second: float | None = None,
        timeout: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token
        self.environment = environment
        self.transport = transport
        self.max_in_flight = max_in_flight
        self.max_events_per_second = max_events_per_second
        self.timeout = timeout
        self._settings: AdjustConnection | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The connection form of Airflow 3.1; later versions read it from the provider's metadata."""
        return connection_form.hook_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The connection form of Airflow 3.1; later versions read it from the provider's metadata."""
        return connection_form.hook_form_widgets()

    @property
    def settings(self) -> AdjustConnection:
        """The connection, read once and checked.

        :raises AdjustConfigurationError: the connection says something that cannot be used.
        """
        if self._settings is None:
            self._settings = self._read_settings()
        return self._settings

    def _read_settings(self) -> AdjustConnection:
        connection = self.get_connection(self.adjust_conn_id)
        where = f"connection {self.adjust_conn_id!r}"
        extra = connection.extra_dejson if isinstance(connection.extra_dejson, Mapping) else {}
        timeout = self.timeout or (
            _seconds(extra, "connect_timeout", connection_form.DEFAULT_CONNECT_TIMEOUT, where),
            _seconds(extra, "read_timeout", connection_form.DEFAULT_READ_TIMEOUT, where),
        )
        s2s_token = (connection.password or "").strip() or None
        if s2s_token and not (s2s_token.isascii() and s2s_token.isprintable()):
            raise AdjustConfigurationError(f"{where}: the S2S security token holds characters that no token has")
        api_token = _text(extra, "api_token", where)
        for secret in (s2s_token, api_token):
            if secret:
                mask_secret(secret)  # wherever the connection came from, and whatever its extra calls it
        return AdjustConnection(
            endpoint=base_url(connection.host, connection.port, where),
            s2s_token=s2s_token,
            app_token=self.app_token or _text(extra, "app_token", where),
            environment=self.environment or _text(extra, "environment", where),
            timeout=timeout,
            api_endpoint=base_url(
                _text(extra, "api_endpoint", where) or connection_form.DEFAULT_API_ENDPOINT, None, where
            ),
            api_token=api_token,
        )

    def get_conn(self) -> requests.Session:
        """A session that carries the S2S security token and the defaults of this provider.

        It stores no cookies and retries nothing. The caller passes timeouts and forbids redirects, or the token might
        follow one to another host.
        """
        session = new_session()
        session.auth = BearerToken(self.settings.s2s_token)
        return session

    def route(self, **parsing: Any) -> Route:
        """How rows are read and where they go; ``parsing`` are arguments of ``EventParser``."""
        settings = self.settings
        parser = EventParser(app_token=settings.app_token, environment=settings.environment, **parsing)
        return Route(parser, settings.target, self._device_api())

    def _device_api(self) -> DeviceApi | None:
        settings = self.settings
        return DeviceApi(settings.api_endpoint, settings.api_token) if settings.api_token else None

    def inspect_device(self, device_id: str) -> dict[str, Any]:
        """What Adjust's Device API knows of a device, by its advertising id or adid: its last event times among others.

        :raises AdjustConfigurationError: the connection has no API token or no app token.
        :raises DeviceApiError: no usable answer came.
        """
        device_api, app_token = self._device_api(), self.settings.app_token
        if device_api is None or app_token is None:
            raise AdjustConfigurationError(
                f"connection {self.adjust_conn_id!r} needs an API token and an app token for the Device API"
            )
        return device_api.inspect_device(device_id, app_token)

    @contextmanager
    def open_transport(self) -> Iterator[Transport]:
        """A transport for ``max_in_flight`` requests, closed at the end; that waits for what is in flight."""
        transport = open_transport(self.transport, max_in_flight=self.max_in_flight, timeout=self.settings.timeout)
        try:
            yield transport
        finally:
            transport.close()

    def send_events(
        self,
        rows: Sequence[Row] | Iterable[Row],
        *,
        on_in_doubt: OnInDoubt = "resend",
        **parsing: Any,
    ) -> Iterator[Receipt]:
        """Send rows and yield a receipt for each as it settles.

        A list is sorted by time; any other iterable must come in time order. Events of one device and event token are
        sent one after another, others at the same time. ``parsing`` are arguments of ``EventParser``, such as
        ``event_token``, ``column_map`` or ``timezone``.

        :raises DeliveryHalted: an answer condemns the whole batch, such as one to a wrong token.
        :raises AdjustUnreachable: no event could be settled while one used up its attempts.
        :raises StreamOutOfOrder: a stream is not in time order.
        """
        route = self.route(**parsing)
        with self.open_transport() as transport:
            sender = Sender(
                {None: route},
                transport,
                max_in_flight=self.max_in_flight,
                max_events_per_second=self.max_events_per_second,
                on_in_doubt=on_in_doubt,
            )
            yield from sender.send(rows)

    def send_event(self, row: Row, **parsing: Any) -> Receipt:
        """Send one row and return its receipt; a row that is no event gets one too.

        :raises DeliveryHalted: the token, the app or the endpoint is wrong.
        :raises AdjustUnreachable: no answer came within the attempts.
        """
        return next(receipt for receipt in list(self.send_events([row], **parsing)))

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether the endpoint answers and accepts the tokens.

        The request has neither device id nor event token, so Adjust can record nothing of it.
        """
        try:
            settings = self.settings
            self.route()  # a token or an environment that cannot be is refused here, as it would be by a task
        except AdjustConfigurationError as error:
            return False, str(error)
        params = {"s2s": "1", "app_token": settings.app_token, "environment": settings.environment}
        body = urlencode({name: value for name, value in params.items() if value})
        timeout = tuple(map(min, settings.timeout, _TEST_TIMEOUT))
        transport = RequestsTransport(max_in_flight=1, timeout=(timeout[0], timeout[1]))
        transport.submit(None, settings.target, body)
        [completion] = transport.poll(None)  # comes in time whatever the server does, unlike what send returns
        transport.close()
        return _test_result(judge(completion), settings)


_LATER = "Adjust refuses a wrong S2S token only once S2S authentication is enabled for the app, so enable it there to be sure"


def _test_result(verdict: Verdict, settings: AdjustConnection) -> tuple[bool, str]:
    """Read the answer to a request that names no event: the refusal of the missing event is what success looks like."""
    where = settings.endpoint
    if verdict.outcome is Outcome.RETRY and verdict.http_status is None:
        return False, f"{where} cannot be reached ({verdict.message}); check the endpoint and the worker's network"
    if verdict.outcome is Outcome.IN_DOUBT:
        return False, f"{where} gave no readable answer ({verdict.message or verdict.reason}); check the endpoint"
    if verdict.outcome is Outcome.RETRY:
        return False, f"{where} answers status {verdict.http_status}; try again later"
    token = "S2S security token accepted" if settings.s2s_token else "no S2S security token set, none demanded"
    if settings.app_token is None and verdict.reason in {"invalid_app_token", "app_token_not_found"}:
        return True, f"{where} answers; {token}; no app token set, so none was checked. {_LATER}."
    if verdict.outcome is Outcome.HALT and verdict.reason != "invalid_event_token":
        cause = {
            "invalid_app_token": "the app token is wrong",
            "app_token_not_found": "the app token is unknown to Adjust",
            "missing_s2s_token": "the S2S security token is missing",
            "wrong_s2s_token": "the S2S security token is wrong",
            "not_authorized": "the S2S security token is missing or wrong",
        }.get(verdict.reason, verdict.reason)
        return False, f"{where} answers, but {cause} (status {verdict.http_status}): {verdict.remedy}"
    if verdict.outcome is Outcome.DELIVERED:
        return True, f"{where} answers OK even to a request without an event, so the tokens could not be checked"
    return True, f"{where} answers; {token}; app token accepted. {_LATER}."


def _text(extra: Mapping[str, Any], name: str, where: str) -> str | None:
    value = extra.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a connection URI turns a token of digits into a number
    if not isinstance(value, str):
        raise AdjustConfigurationError(f"{where}: {name} must be text; in a URI, write it as JSON in __extra__")
    return value.strip() or None


def _seconds(extra: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return float(default)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise AdjustConfigurationError(f"{where}: {name} must be a number of seconds, above 0 and at most 600")
    return seconds
