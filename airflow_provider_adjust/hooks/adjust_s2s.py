"""AdjustS2SHook: an Adjust connection, for sending events and reading Adjust's reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import tzinfo
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests
from airflow.sdk import BaseHook

from airflow_provider_adjust import connection_form
from airflow_provider_adjust.adjust_api.blocking import run_blocking
from airflow_provider_adjust.adjust_api.errors import ReportRefused, ReportUnavailable
from airflow_provider_adjust.adjust_api.reports import Report
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.reconcile.totals import Days, EventTotals
from airflow_provider_adjust.s2s.answers.classify import judge
from airflow_provider_adjust.s2s.answers.outcome import NOT_FROM_ADJUST, Outcome, Verdict
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.delivery.options import SendOptions
from airflow_provider_adjust.s2s.delivery.route import Route
from airflow_provider_adjust.s2s.delivery.sender import Sender
from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.parser import EventParser
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.s2s.transports import Transport
from airflow_provider_adjust.s2s.transports.choice import open_transport
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport
from airflow_provider_adjust.s2s.transports.settings import BearerToken, new_session

#: The longest wait of ``test_connection``, in seconds: it runs in the API server while a user waits.
_TEST_TIMEOUT = (5.0, 10.0)


class AdjustS2SHook(BaseHook):
    """Send events through an ``adjust`` connection, and read what Adjust has with its API token.

    .. code-block:: python

        from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
        from airflow_provider_adjust.s2s import RowOptions, SendOptions


        def send(rows: list[dict[str, object]]) -> None:
            options = RowOptions(event_token="f0ob4r", id_field="order_id")
            for receipt in AdjustS2SHook().send_events(rows, options, SendOptions(max_events_per_second=50)):
                print(receipt.event_id, receipt.outcome, receipt.reason)

    :param adjust_conn_id: the ``adjust`` connection: endpoint, S2S security token, app token, environment, timeouts.
    :param app_token: the app; overrides the connection's.
    :param environment: ``production`` or ``sandbox``; overrides the connection's. If neither names one, each row must.
    :param timeout: seconds to connect, and seconds to wait for an answer; overrides the connection's.

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
        timeout: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token
        self.environment = environment
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

        :raises AdjustConfigurationError: a field of the connection cannot be used.
        """
        if self._settings is None:
            connection = self.get_connection(self.adjust_conn_id)
            self._settings = AdjustConnection.read(
                connection, app_token=self.app_token, environment=self.environment, timeout=self.timeout
            )
        return self._settings

    def get_conn(self) -> requests.Session:
        """A session with the S2S security token and this provider's defaults.

        It stores no cookies and does not retry. Pass timeouts, and forbid redirects: the token could follow one to another
        host.
        """
        session = new_session()
        session.auth = BearerToken(self.settings.s2s_token)
        return session

    def route(self, options: RowOptions | None = None, *, ignored: Sequence[str] = ()) -> Route:
        """How rows are read, and where their events are sent.

        :param options: how the rows are read; the connection's app token and environment fill in where it names none.
        :param ignored: columns that are not sent.
        """
        options, settings = options or RowOptions(), self.settings
        options = replace(
            options,
            app_token=options.app_token or settings.app_token,
            environment=options.environment or settings.environment,
        )
        device_api = settings.device_api()
        if not settings.digest_secrets:
            self.log.warning(
                "Connection %r has neither an S2S token nor a digest_key, so digests of event data have no key, and short "
                "values in them can be found by trial. Set digest_key",
                self.adjust_conn_id,
            )
        parser = EventParser(options, ignored=ignored, digest_keys=settings.digest_secrets)
        lookup = device_api.recorded if device_api and parser.endpoint.verifiable else None
        return Route(parser, settings.target_of(parser.endpoint), lookup, sum(settings.timeout), self.adjust_conn_id)

    def inspect_device(self, device_id: str) -> dict[str, Any]:
        """Return the Device API's answer about a device, such as the times of its last events.

        :param device_id: the device's advertising id or adid.
        :raises AdjustConfigurationError: the connection lacks an API token or an app token.
        :raises DeviceApiError: the API gave no usable answer.
        """
        return self.settings.inspect_device(device_id)

    def report(self, dimensions: Sequence[str], metrics: Sequence[str], date_period: str, **filters: str) -> Report:
        """Return a report on the connection's app in its environment.

        :param dimensions: what to group by, such as ``["day", "country_code"]``.
        :param metrics: what to count, such as ``["events", "purchase_revenue"]``. ``event_slugs`` returns the names of events.
        :param date_period: Adjust's notation: ``2026-05-01:2026-05-03``, ``yesterday``, ``-10d:-3d``.
        :param filters: more parameters of the Report Service, such as ``utc_offset="+01:00"``, ``currency="EUR"`` or
            ``country_code__in="de,fr"``.
        :returns: rows with the dimensions as text and the metrics as ``Decimal``; none for a report without data.
        :raises AdjustConfigurationError: the connection lacks API token, app token or environment.
        :raises ReportRefused: Adjust refuses the request.
        :raises ReportUnavailable: no attempt got a report, because Adjust is busy or slow.
        """
        return run_blocking(self.settings.report_client().report(dimensions, metrics, date_period, filters))

    def event_slugs(self, app_token: str | None = None) -> dict[str, str]:
        """Return the names of the app's events in metrics, by event token.

        ``{"f0ob4r": "purchase"}`` means that the report's metric is ``purchase_events``.

        :param app_token: the app; None is the connection's.
        :raises AdjustConfigurationError: the connection lacks API token, app token or environment.
        :raises ReportRefused: Adjust refuses the request.
        :raises ReportUnavailable: no attempt got an answer.
        """
        return run_blocking(self.settings.report_client().event_slugs(app_token))

    def booked_events(
        self, event_tokens: Iterable[str], date_period: Any, *, timezone: str = "UTC", currency: str | None = None
    ) -> list[dict[str, Any]]:
        """Return what Adjust has per event token and day: the ``baseline``, if called before anything is sent.

        :param event_tokens: the events.
        :param date_period: a day, or the first and the last (``2026-05-01:2026-05-03``).
        :param timezone: IANA name of the time zone of the days.
        :param currency: the currency of the revenue; without it, only events are counted.
        :returns: rows of ``period``, ``event_token``, ``events``, ``revenue`` and ``currency``.
        :raises AdjustConfigurationError: the connection lacks a field, or the app does not have the event.
        :raises ReportRefused: Adjust refuses the request.
        :raises ReportUnavailable: no attempt got a report.
        """
        wanted = [
            EventTotals(token, Days(day, day), 0, Decimal(0) if currency else None, currency)
            for token in event_tokens
            for day in Days.parse(date_period, "date_period")
        ]
        return [total.as_json() for total in self.reported_totals(wanted, load_timezone(timezone))]

    def reported_totals(self, wanted: Sequence[EventTotals], zone: tzinfo) -> list[EventTotals]:
        """Return Adjust's total for each of the wanted ones, in the same order.

        :raises AdjustConfigurationError: the connection lacks a field, or the app does not have the event.
        :raises ReportRefused: Adjust refuses the request.
        :raises ReportUnavailable: no attempt got a report.
        """
        return run_blocking(self.settings.report_client().reported_totals(wanted, zone))

    @contextmanager
    def open_transport(self, options: SendOptions) -> Iterator[Transport]:
        """A transport for ``max_in_flight`` requests, closed at the end."""
        transport = open_transport(
            options.transport, max_in_flight=options.max_in_flight, timeout=self.settings.timeout
        )
        try:
            yield transport
        finally:
            transport.close()

    def send_events(
        self,
        rows: Sequence[Row] | Iterable[Row],
        options: RowOptions | None = None,
        sending: SendOptions | None = None,
    ) -> Iterator[Receipt]:
        """Send rows and yield a receipt for each as it settles.

        A list is sorted by time; any other iterable must be in time order. Events of one device and event token are sent
        one after another, others at the same time.

        :param rows: mappings of Adjust's parameter names to values.
        :param options: how the rows are read.
        :param sending: how the events are sent.
        :returns: the receipts, in the order in which the events end.
        :raises DeliveryHalted: Adjust rejected the credentials or the app, so no event of this batch can succeed.
        :raises NotAdjust: something other than Adjust answered.
        :raises AdjustUnreachable: an event used up its attempts while no other event was settled.
        :raises StreamOutOfOrder: a stream is not in time order.
        """
        route, sending = self.route(options), sending or SendOptions()
        with self.open_transport(sending) as transport:
            yield from Sender({None: route}, transport, sending).send(rows)

    def send_event(self, row: Row, options: RowOptions | None = None, sending: SendOptions | None = None) -> Receipt:
        """Send one row and return its receipt; a row that is not an event gets one too.

        :raises DeliveryHalted: the token or the app is wrong.
        :raises NotAdjust: something other than Adjust answered.
        :raises AdjustUnreachable: no answer came within the attempts.
        """
        [receipt] = self.send_events([row], options, sending)
        return receipt

    def test_connection(self) -> tuple[bool, str]:
        """Test whether the endpoint answers and accepts the tokens, including the API token if one is set.

        It asks each of the connection's ``endpoints``, because a token has scopes, and Adjust enforces them per endpoint. The
        requests have neither device id nor event token, so Adjust cannot record anything.
        """
        try:
            settings = self.settings
            self.route()  # an invalid token or environment is refused here, as a task would refuse it
        except AdjustConfigurationError as error:
            # Airflow tests under a generated connection id.
            return False, str(error).removeprefix(f"connection {self.adjust_conn_id!r}: ")
        params = {"s2s": "1", "app_token": settings.app_token, "environment": settings.environment}
        body = urlencode({name: value for name, value in params.items() if value})
        timeout = tuple(map(min, settings.timeout, _TEST_TIMEOUT))
        asked = settings.endpoints
        with closing(RequestsTransport(max_in_flight=len(asked), timeout=(timeout[0], timeout[1]))) as transport:
            for endpoint in asked:
                transport.submit(endpoint, settings.target_of(endpoint), body)
            answers: dict[Any, Verdict] = {}
            while len(answers) < len(asked):
                # Unlike the return of send, completions arrive in time whatever the server does.
                answers |= {each.key: judge(each) for each in transport.poll(None)}
        tested = [_test_result(answers[endpoint], settings, _shown(endpoint, settings)) for endpoint in asked]
        works = all(each.works for each in tested)
        # What fails comes first: it is what the reader looks for.
        message = " ".join(f"{each.message.removesuffix('.')}." for each in sorted(tested, key=lambda each: each.works))
        if works and any(each.may_be_open for each in tested):
            message += f" {_LATER}."
        if works and settings.environment is None:
            message += " No environment is set, so each task or row must name it."
        if settings.api_token is None:
            return works, message
        api_works, api_message = _test_api_token(settings)
        # What fails comes first: it is what the reader looks for.
        parts = (api_message, message) if works and not api_works else (message, api_message)
        return works and api_works, " ".join(parts)


_LATER = "Adjust refuses a wrong S2S token only once S2S authentication is enabled for the app, so enable it there to be sure"


def _test_api_token(settings: AdjustConnection) -> tuple[bool, str]:
    service = replace(settings.report_service(timeout=_TEST_TIMEOUT), attempts=1)
    try:
        run_blocking(service.check_token())
    except (ReportRefused, ReportUnavailable) as error:
        return False, f"{settings.report_endpoint}: {error}."
    return True, f"{settings.report_endpoint}: API token accepted."


class _Tested(NamedTuple):
    """The result of testing one endpoint; ``may_be_open``: it may accept wrong tokens, too."""

    works: bool
    message: str
    may_be_open: bool = False


def _shown(endpoint: Endpoint, settings: AdjustConnection) -> str:
    return settings.endpoint if len(settings.endpoints) == 1 else settings.target_of(endpoint).url


def _test_result(verdict: Verdict, settings: AdjustConnection, where: str) -> _Tested:
    """Interpret the answer to a request without an event: a refusal because of the missing event means success."""
    if verdict.outcome is Outcome.RETRY and verdict.http_status is None:
        return _Tested(
            False, f"{where} cannot be reached ({verdict.message}); check the endpoint and the worker's network"
        )
    if verdict.outcome is Outcome.RETRY or (verdict.http_status or 0) >= 500:
        return _Tested(False, f"{where} answers status {verdict.http_status}; try again later")
    if verdict.outcome is Outcome.IN_DOUBT:
        what = verdict.message if verdict.reason == "no_answer" else verdict.reason
        return _Tested(False, f"{where} gave no readable answer ({what}); check the endpoint")
    if verdict.reason in NOT_FROM_ADJUST:
        # Without the answer: otherwise anyone who may set the endpoint could read what services answer to this machine.
        what = f"{verdict.reason}; status {verdict.http_status}"
        return _Tested(False, f"{where}: this is not Adjust's answer ({what}); {verdict.remedy}")
    token = "S2S security token not refused" if settings.s2s_token else "no S2S security token set, none demanded"
    if settings.app_token is None and verdict.reason in {"invalid_app_token", "app_token_not_found"}:
        return _Tested(True, f"{where} answers; {token}; no app token set, so none was checked.", True)
    if verdict.outcome is Outcome.HALT and verdict.reason != "invalid_event_token":
        cause = {
            "invalid_app_token": "the app token is wrong",
            "app_token_not_found": "the app token is unknown to Adjust",
            "missing_s2s_token": "the S2S security token is missing",
            "wrong_s2s_token": "the S2S security token is wrong",
            "not_authorized": "the S2S security token is missing or wrong",
            "insufficient_scope": "the S2S security token lacks its scope",
        }.get(verdict.reason, verdict.reason)
        return _Tested(False, f"{where} answers, but {cause} (status {verdict.http_status}): {verdict.remedy}")
    if verdict.outcome is Outcome.DELIVERED:
        return _Tested(
            True, f"{where} answers OK even to a request without an event, so the tokens could not be checked."
        )
    return _Tested(True, f"{where} answers; {token}; app token accepted.", True)
