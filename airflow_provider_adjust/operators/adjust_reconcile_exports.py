"""AdjustReconcileExportsOperator: Adjust's raw data exports against what was sent, event by event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TextIO

from airflow.sdk import BaseOperator, Context

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.export_files import export_files
from airflow_provider_adjust.files.folder import path_of
from airflow_provider_adjust.files.private import new_file
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.reconcile.comparison import Tolerance
from airflow_provider_adjust.reconcile.exports.heads import check_columns
from airflow_provider_adjust.reconcile.exports.join import DIFFERENCES, Sent
from airflow_provider_adjust.reconcile.exports.names import ExportFile
from airflow_provider_adjust.reconcile.exports.prove import USUAL_DELAY, Question, prove_by_ledger, prove_by_rows
from airflow_provider_adjust.reconcile.exports.result import Proof
from airflow_provider_adjust.reconcile.exports.rows import QUERY_COLUMNS, read_row
from airflow_provider_adjust.reconcile.exports.values import MICROS
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors, task_instance_id
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.s2s.redaction import quote
from airflow_provider_adjust.sql_rows import Parameters, column_names, sql_hook, stream_rows

_FETCH_SIZE = 2000


class ExportsDiffer(AdjustError):
    """Adjust's exports differ from what was sent by more than the tolerance. A later try reads later files."""


class ExportsUnreadable(AdjustError):
    """Some files could not be read, or there are none. A later try may find them complete."""


class AdjustReconcileExportsOperator(BaseOperator):
    """Compare Adjust's raw data exports with what was sent, event by event; settle what was in doubt.

    The XCom is a dict of counts and amounts. ``ExportsDiffer`` is raised if more events differ than ``tolerance`` allows.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_reconcile_exports import AdjustReconcileExportsOperator

        AdjustReconcileExportsOperator(
            task_id="prove",
            exports="s3://aws_default@bucket/adjust",
            window="{{ data_interval_start }}/{{ data_interval_end }}",
            ledger_conn_id="adjust_ledger",
            differences_path="exports/{{ ds }}.csv",
        )

    :param exports: where Adjust uploads its exports: a URL such as ``s3://conn@bucket/adjust``, or an absolute path.
        (templated)
    :param window: when the events happened: a day, days (``2026-05-01:2026-05-03``), or two times separated by a slash.
        (templated)
    :param ledger_conn_id: the database connection of the sending tasks' ledger, which knows what was sent. (templated)
    :param sql: without a ledger, one SELECT of ``event_id`` and ``created_at``, inline or the path of a ``.sql`` file. Add
        ``revenue``, ``currency`` and ``event_token`` to compare them. (templated)
    :param sql_conn_id: the database connection of the query; its hook must be a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders. (templated)
    :param hook_params: arguments for the connection's hook.
    :param event_token: with ``sql``, the event token of its events, or several separated by commas. (templated)
    :param adjust_conn_id: the ``adjust`` connection, for app, environment and host. It needs no API token. (templated)
    :param app_token: the app; overrides the connection's. (templated)
    :param environment: ``production`` or ``sandbox``; overrides the connection's. (templated)
    :param columns: the columns of your CSV definition that have other names than the documented ones:
        ``{"event_id": "[order_id]"}``.
    :param timezone: IANA name of the time zone of days, and of times without an offset.
    :param settle_for: how long ago an event must have been sent before it counts as missing, and one in doubt may be sent
        again. None changes nothing in the ledger.
    :param read_for: how long after the window's end files are read. None reads all later files.
    :param every_hour_has_files: False if Adjust uploads no file for an hour without events.
    :param tolerance: how many events may differ: a count, or a share as a float below 1.
    :param tolerate: verdicts that are counted and do not fail the task, such as ``unknown``.
    :param amount_tolerance: by how much an amount may differ, in units of its currency.
    :param time_tolerance: by how much a time may differ.
    :param differences_path: where to list, as CSV, what differs and what was in doubt, local or on object storage.
        (templated)
    """

    template_fields: Sequence[str] = (
        "exports",
        "window",
        "ledger_conn_id",
        "sql",
        "sql_conn_id",
        "parameters",
        "event_token",
        "adjust_conn_id",
        "app_token",
        "environment",
        "differences_path",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#e0f2ef"

    def __init__(
        self,
        *,
        exports: str,
        window: Any,
        ledger_conn_id: str | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Parameters = None,
        hook_params: Mapping[str, Any] | None = None,
        event_token: str | None = None,
        adjust_conn_id: str = DEFAULT_CONN_ID,
        app_token: str | None = None,
        environment: str | None = None,
        columns: Mapping[str, str] | None = None,
        timezone: str = "UTC",
        settle_for: timedelta | None = USUAL_DELAY,
        read_for: timedelta | None = None,
        every_hour_has_files: bool = True,
        tolerance: float = 0,
        tolerate: Sequence[str] = (),
        amount_tolerance: float | Decimal | str = "0.005",
        time_tolerance: timedelta = timedelta(seconds=1),
        differences_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.exports = exports
        self.window = window
        self.ledger_conn_id = ledger_conn_id
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.event_token = event_token
        self.adjust_conn_id = adjust_conn_id
        self.app_token = app_token
        self.environment = environment
        self.columns = columns
        self.timezone = timezone
        self.settle_for = settle_for
        self.read_for = read_for
        self.every_hour_has_files = every_hour_has_files
        self.tolerance = tolerance
        self.tolerate = tolerate
        self.amount_tolerance = amount_tolerance
        self.time_tolerance = time_tolerance
        self.differences_path = differences_path

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            return self._prove(context)
        except AdjustConfigurationError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    def _prove(self, context: Context) -> dict[str, Any]:
        tolerance = Tolerance.of(self.tolerance, self.amount_tolerance)
        self._check()
        hook = AdjustS2SHook(self.adjust_conn_id, app_token=self.app_token, environment=self.environment)
        question = self._question(hook, tolerance)
        files = export_files(self.exports)
        with ExitStack() as stack:
            path, opened = None, None
            if self.differences_path:
                path, opened = new_file(path_of(self.differences_path))
                stack.enter_context(opened)
            if self.ledger_conn_id is not None:
                proof = self._by_ledger(context, question, files, hook.settings.target.host, opened)
            else:
                proof = self._by_query(question, files, opened)
        self.log.info("What was sent from %s, and Adjust's exports\n%s", question.window, proof.table())
        if path is not None:
            self.log.info("What differs or was in doubt is listed in %s", path)
        self._judge(proof, tolerance)
        return proof.as_json() | {"differences_path": None if path is None else str(path)}

    def _check(self) -> None:
        if (self.ledger_conn_id is None) == (self.sql is None):
            raise AdjustConfigurationError(
                "give ledger_conn_id, or sql and sql_conn_id: one of them says what was sent"
            )
        if self.sql is not None and self.sql_conn_id is None:
            raise AdjustConfigurationError("sql needs sql_conn_id, the database that has the events")
        check_columns(self.columns or {})
        if unknown := sorted(set(self.tolerate) - set(DIFFERENCES)):
            raise AdjustConfigurationError(f"tolerate has {quote(unknown[0])}; known are {', '.join(DIFFERENCES)}")

    def _question(self, hook: AdjustS2SHook, tolerance: Tolerance) -> Question:
        settings = hook.settings
        if not settings.app_token or not settings.environment:
            raise AdjustConfigurationError(
                "app_token and environment say which lines are compared; set them here or in the connection"
            )
        return Question(
            window=Window.parse(self.window, load_timezone(self.timezone)),
            app_token=settings.app_token,
            environment=settings.environment,
            columns=self.columns or {},
            amount_tolerance=round(tolerance.revenue * MICROS),
            time_tolerance=round(self.time_tolerance.total_seconds()),
            settle_for=self.settle_for,
            read_for=self.read_for,
            every_hour_has_files=self.every_hour_has_files,
        )

    def _by_ledger(
        self, context: Context, question: Question, files: Sequence[ExportFile], host: str, opened: TextIO | None
    ) -> Proof:
        assert self.ledger_conn_id is not None  # noqa: S101 - for mypy
        task = task_instance_id(context.get("ti"), self.task_id)
        with named_ledger_errors(self.ledger_conn_id), ledger_engine(self.ledger_conn_id) as engine:
            return prove_by_ledger(question, files, engine, destination=host, task=task, differences=opened)

    def _by_query(self, question: Question, files: Sequence[ExportFile], opened: TextIO | None) -> Proof:
        assert self.sql is not None and self.sql_conn_id is not None  # noqa: S101, PT018 - for mypy
        tokens, zone = self._tokens(), load_timezone(self.timezone)
        hook = sql_hook(self.sql_conn_id, self.hook_params)
        with stream_rows(hook, self.sql, self.parameters, _FETCH_SIZE, [QUERY_COLUMNS], self.timezone) as rows:
            column_names(rows.description, [QUERY_COLUMNS])  # refuses repeated names

            def sent() -> Iterator[tuple[str, Sent]]:
                return (read_row(row, zone, question.window, tokens) for row in rows)

            return prove_by_rows(question, files, sent(), tokens, now=datetime.now(UTC), differences=opened)

    def _tokens(self) -> list[str]:
        """The event tokens, which must be known before any line is read."""
        if not self.event_token:
            raise AdjustConfigurationError(
                "event_token names the events that the sql returns; set it, with commas for several"
            )
        return [token.strip() for token in self.event_token.split(",") if token.strip()]

    def _judge(self, proof: Proof, tolerance: Tolerance) -> None:
        """Fail if too much differs, or if the files do not allow a comparison."""
        reading = proof.reading
        differing = proof.differing(self.tolerate)
        if differing > tolerance.events_off(proof.sent):
            raise ExportsDiffer(
                f"Adjust's exports differ from what was sent in {differing:,} of {proof.sent:,} events.\n{proof.table()}\n"
                "What to do: see the differences (differences_path); docs/guides/exports.md says what each kind means."
            )
        if not reading.paths:
            raise ExportsUnreadable(
                f"there is no export of the app for {proof.window} in {self.exports}; check the path and the app token, or "
                "wait for the upload (AdjustExportsSensor)"
            )
        if reading.unknown_heads:
            raise AdjustConfigurationError(f"{reading.unknown_heads:,} files cannot be compared; {reading.problems[0]}")
        if reading.problems:
            raise ExportsUnreadable(f"{len(reading.problems):,} files cannot be read; {reading.problems[0]}")
