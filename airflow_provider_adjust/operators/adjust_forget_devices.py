"""AdjustForgetDevicesOperator: has Adjust erase devices, for good."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar, Final

from airflow.sdk import BaseOperator, Context
from airflow.sdk.log import mask_secret

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.hooks.adjust_connection import AdjustConnection
from airflow_provider_adjust.operators.adjust_send_events import as_rows, is_nothing, list_in
from airflow_provider_adjust.rendered_fields import HidesRenderedFields, hide, reveal
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors, task_instance_id
from airflow_provider_adjust.s2s.delivery.forget import ERASABLE_IDS, Erasures, Forgetter, forget_target, post
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError, ErasureIncomplete, FinalError
from airflow_provider_adjust.s2s.events.device_id import DeviceId
from airflow_provider_adjust.s2s.events.keys import DigestKeys
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.s2s.ledger.erasures import PACE, ErasureLog, Order
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.transports import Completion, Target
from airflow_provider_adjust.sql_rows import Parameters, column_names, sql_hook, stream_rows

#: The required value of ``confirm``.
CONFIRMED: Final = "permanently"
#: Seconds between two progress lines in the log.
_SAID_EVERY = 60.0


class AdjustForgetDevicesOperator(HidesRenderedFields, BaseOperator):
    """Have Adjust erase devices (GDPR): permanently, each once, at most ten per minute.

    It reads the columns ``gps_adid``, ``idfa``, ``idfv``, ``fire_adid``, ``win_adid`` and ``adid``, and no others. Each id of
    a row is one request. The ledger keeps who requested it, when, and the answer, with a keyed digest instead of the id.
    Events of the device are refused from then on. The XCom is a dict of counts.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_forget_devices import AdjustForgetDevicesOperator

        AdjustForgetDevicesOperator(
            task_id="forget_devices",
            sql_conn_id="warehouse",
            sql="SELECT gps_adid, idfa, adid FROM erasure_requests ORDER BY requested_at",
            ledger_conn_id="adjust_ledger",
            dry_run=True,  # read its log, then replace this line by confirm="permanently"
        )

    :param ledger_conn_id: the database connection of the ledger, which paces all tasks and remembers which devices were
        erased. (templated)
    :param sql: one SELECT of device ids, inline or the path of a ``.sql`` file. (templated)
    :param sql_conn_id: the database connection; its hook must be a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders. (templated)
    :param hook_params: arguments for the connection's hook.
    :param devices: instead of a query, a list of rows such as ``{"gps_adid": "..."}``, a template or JSON text of one, or the
        output of an upstream task. The XCom of that task then keeps the ids in Airflow's database. (templated)
    :param adjust_conn_id: the ``adjust`` connection, with an S2S token that has the GDPR scope, and ``gdpr_url``. (templated)
    :param app_token: the app; overrides the connection's. (templated)
    :param environment: ``production`` or ``sandbox``; overrides the connection's. (templated)
    :param asked_by: who requested the erasure, such as a ticket number. The ledger keeps it: name no person. (templated)
    :param confirm: ``"permanently"``. Without it, only a dry run is possible.
    :param limit: the most devices of one run, each id counted. The next run continues with the others.
    :param max_minutes: the longest duration of one run, in minutes. The next run continues with the others.
    :param dry_run: log how many devices would be erased and how long that takes, and erase nothing.
    :raises AdjustConfigurationError: ``confirm`` is missing, or an argument cannot be used.
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "devices",
        "ledger_conn_id",
        "adjust_conn_id",
        "app_token",
        "environment",
        "asked_by",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#f5d5d0"

    def __init__(
        self,
        *,
        ledger_conn_id: str,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Parameters = None,
        hook_params: Mapping[str, Any] | None = None,
        devices: Any = None,
        adjust_conn_id: str = DEFAULT_CONN_ID,
        app_token: str | None = None,
        environment: str | None = None,
        asked_by: str = "",
        confirm: str | None = None,
        limit: int = 500,
        max_minutes: float = 60,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # None of these is templated, so a mistake fails the DAG's import.
        if confirm != CONFIRMED and not (dry_run and confirm is None):
            raise AdjustConfigurationError(
                f"an erasure cannot be undone: set confirm={CONFIRMED!r}, or dry_run=True to see what would be erased"
            )
        if (devices is None) == (sql is None) or (sql is None) != (sql_conn_id is None):
            raise AdjustConfigurationError("give sql and sql_conn_id, or devices, and not both")
        if limit < 1 or max_minutes <= 0:
            raise AdjustConfigurationError("limit must be at least 1, and max_minutes more than 0")
        self.ledger_conn_id = ledger_conn_id
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.devices = devices
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token
        self.environment = environment
        self.asked_by = asked_by
        self.confirm = confirm
        self.limit = limit
        self.max_minutes = max_minutes
        self.ask_nothing = dry_run
        self._forgetter: Forgetter | None = None
        self._killed = False

    def hide_rendered_fields(self) -> None:
        """Hide the devices."""
        if self.devices is not None:
            count = (
                len(self.devices) if isinstance(self.devices, Sized) and not isinstance(self.devices, str) else "some"
            )
            self.devices = hide(self.devices, f"{count} devices (not shown)")

    def execute(self, context: Context) -> dict[str, int]:
        try:
            with named_ledger_errors(self.ledger_conn_id), ExitStack() as stack:
                return self._forget(context, stack)
        except FinalError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    def on_kill(self) -> None:
        # Airflow calls this in a signal handler; the current request is finished first.
        self._killed = True
        if self._forgetter is not None:
            self._forgetter.stop()

    def _forget(self, context: Context, stack: ExitStack) -> dict[str, int]:
        settings = AdjustConnection.get(
            self.adjust_conn_id, app_token=self.app_token or None, environment=self.environment or None
        )
        order = self._order(context, settings)
        engine = stack.enter_context(ledger_engine(self.ledger_conn_id))
        prepare(engine)
        log = ErasureLog(engine, order, DigestKeys(settings.digest_secrets))
        send = partial(_send, settings, order)
        self._forgetter = forgetter = Forgetter(log, send, limit=self.limit, seconds=60 * self.max_minutes)
        if self._killed:
            forgetter.stop()
        self.log.info(
            "%s at %s: app %s..., environment %s; connection %s, ledger %s",
            "A dry run, which erases nothing," if self.ask_nothing else "Erasing devices for good",
            settings.gdpr_url,
            order.app_token[:4],
            order.environment,
            self.adjust_conn_id,
            self.ledger_conn_id,
        )
        if others := log.under_other_keys():
            self.log.warning(
                "%s devices were erased under a digest key that the connection does not have, and will be asked for again: put "
                "the earlier digest_key, or S2S token, last in the connection's digest_key",
                f"{others:,}",
            )
        rows = self._rows()
        summary = forgetter.check(rows) if self.ask_nothing else self._run(forgetter, rows)
        return self._conclude(summary)

    def _order(self, context: Context, settings: AdjustConnection) -> Order:
        app_token, environment = settings.app()
        task = task_instance_id(context.get("ti"), self.task_id)
        host = Target(settings.erasure_url()).host
        # Each instance of a mapped task counts as its own task.
        task_id = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
        return Order(host, app_token, environment, self.asked_by or "", task.dag_id, task.run_id, task_id)

    def _rows(self) -> Iterator[Row]:
        """The rows. The query is closed after its last row, rather than after the last erasure."""
        if self.sql is None:
            devices = reveal(self.devices)
            if isinstance(devices, str):
                if is_nothing(devices):
                    raise AdjustConfigurationError(
                        "devices rendered to nothing; no devices at all are an empty list, []"
                    )
                devices = list_in(devices, "devices")
            yield from as_rows(devices, argument="devices")
            return
        hook = sql_hook(self.sql_conn_id or "", self.hook_params)
        with stream_rows(hook, self.sql, self.parameters, 2000, [ERASABLE_IDS]) as rows:
            column_names(rows.description, [ERASABLE_IDS])
            if not set(rows.columns) & set(ERASABLE_IDS):
                raise AdjustConfigurationError(
                    f"the sql has no column with a device id that Adjust erases by: {', '.join(ERASABLE_IDS)}"
                )
            yield from rows

    def _run(self, forgetter: Forgetter, rows: Iterable[Row]) -> Erasures:
        said = time.monotonic()
        try:
            for summary in forgetter.run(rows):
                if time.monotonic() - said >= _SAID_EVERY:
                    said = time.monotonic()
                    self.log.info("%s", _line(summary))
        except AdjustError:
            self.log.info("Stopped early: %s", _line(forgetter.summary))
            self._say_details(forgetter.summary)
            raise
        return forgetter.summary

    def _say_details(self, summary: Erasures) -> None:
        for detail in summary.details:
            self.log.warning("Not erased: %s", detail)

    def _conclude(self, summary: Erasures) -> dict[str, int]:
        self._say_details(summary)
        if self.ask_nothing:
            minutes = summary.left * PACE / 60
            self.log.info(
                "%s devices would be asked for, which takes %.0f minutes; %s were erased before",
                f"{summary.left:,}",
                minutes,
                f"{summary.known:,}",
            )
            return summary.as_result()
        self.log.info("%s", _line(summary))
        if summary.left:
            self.log.warning("%s devices are left for the next run (limit, max_minutes)", f"{summary.left:,}")
        if wrong := summary.refused + summary.invalid:
            raise ErasureIncomplete(
                f"{wrong:,} were not erased: {summary.details[0]}; all others were asked for. Correct the rows that the log "
                "names, and run the task again"
            )
        return summary.as_result()


def _send(settings: AdjustConnection, order: Order, device: DeviceId) -> Completion:
    mask_secret(device.id_value)  # in case other code logs it
    target = forget_target(settings.gdpr_url, settings.s2s_token, order.app_token, order.environment, device)
    return post(target, settings.timeout)


def _line(summary: Erasures) -> str:
    return (
        f"{summary.devices:,} devices: {summary.erased:,} erased, {summary.opted_out:,} had opted out, {summary.known:,} "
        f"erased before, {summary.elsewhere:,} another task's, {summary.refused:,} refused, {summary.left:,} left"
    )
