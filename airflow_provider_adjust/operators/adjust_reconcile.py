"""AdjustReconcileOperator: the warehouse's totals against Adjust's report, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, Context

from airflow_provider_adjust.adjust_api.errors import RevenueDiffers
from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.connection_form import DEFAULT_CONN_ID
from airflow_provider_adjust.hooks.adjust_s2s import AdjustS2SHook
from airflow_provider_adjust.reconcile.comparison import (
    Comparison,
    Tolerance,
    compared,
    comparison_table,
    excerpt,
    shown_amount,
    what_is_compared,
)
from airflow_provider_adjust.reconcile.expectations import read_expectations
from airflow_provider_adjust.reconcile.ledger_totals import ledger_totals
from airflow_provider_adjust.reconcile.totals import (
    COLUMNS,
    Days,
    EventTotals,
    LedgerTotals,
    endpoint_and_key,
    merged,
    read_totals,
    token_of,
)
from airflow_provider_adjust.routes import ledger_engine, named_ledger_errors, task_instance_id
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.times import load_timezone
from airflow_provider_adjust.s2s.ledger.statements import Scope
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId
from airflow_provider_adjust.s2s.ledger.verdicts import ComparedDay, write_verdicts
from airflow_provider_adjust.sql_rows import Parameters, column_names, sql_hook, stream_rows

_FETCH_SIZE = 1000


class AdjustReconcileOperator(BaseOperator):
    """Compare the warehouse with Adjust's report per event token and day; fail if they differ.

    The XCom is a dict of what was compared and both totals. ``RevenueDiffers`` is raised if a line differs by more than the
    tolerances; Airflow retries it, since a report may be late.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_reconcile import AdjustReconcileOperator

        AdjustReconcileOperator(
            task_id="reconcile",
            sql_conn_id="warehouse",
            sql="sql/totals_per_day.sql",
            ledger_conn_id="adjust_ledger",
        )

    :param sql: one SELECT of ``day``, ``event_token``, ``events``, ``revenue`` and ``currency``, inline or the path of a
        ``.sql`` file. Without ``revenue``, only events are compared. Ad revenue has no ``event_token``, and its ``events``
        are compared with the ledger only, because Adjust's report does not count them. (templated)
    :param sql_conn_id: the database connection; its hook must be a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders. (templated)
    :param hook_params: arguments for the connection's hook.
    :param adjust_conn_id: the ``adjust`` connection, with an API token. (templated)
    :param endpoint: ``event`` or ``ad_revenue``.
    :param app_token: the app; overrides the connection's. (templated)
    :param environment: ``production`` or ``sandbox``; overrides the connection's. (templated)
    :param date_period: a day, or the first and the last (``2026-05-01:2026-05-03``). A day that the query leaves out counts
        as a day without events. None means from the query's first day to its last. (templated)
    :param timezone: IANA name of the time zone of the days, in the query and in the report.
    :param baseline: what Adjust had before, for events that the app reports as well: the result of
        ``AdjustS2SHook.booked_events`` before anything was sent. (templated)
    :param tolerance: by how many events a line may differ: a count, or a share as a float below 1.
    :param revenue_tolerance: by how much revenue a line may differ: an amount, or a share as a float below 1.
    :param ledger_conn_id: the database connection of the sending tasks' ledger. With it, the table separates what was not
        sent (missing, refused, in doubt) from what Adjust did not book, and compares revenue in several currencies. The page
        *Adjust deliveries* shows the verdict of each day. (templated)
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "adjust_conn_id",
        "app_token",
        "environment",
        "date_period",
        "baseline",
        "ledger_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json", "baseline": "json"}
    ui_color = "#e0f2ef"

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Parameters = None,
        hook_params: Mapping[str, Any] | None = None,
        adjust_conn_id: str = DEFAULT_CONN_ID,
        endpoint: str = "event",
        app_token: str | None = None,
        environment: str | None = None,
        date_period: Any = None,
        timezone: str = "UTC",
        baseline: Any = None,
        tolerance: float = 0,
        revenue_tolerance: float | Decimal | str = "0.01",
        ledger_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.adjust_conn_id = adjust_conn_id
        self.endpoint = endpoint
        self.app_token = app_token
        self.environment = environment
        self.date_period = date_period
        self.timezone = timezone
        self.baseline = baseline
        self.tolerance = tolerance
        self.revenue_tolerance = revenue_tolerance
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            return self._reconcile(task_instance_id(context.get("ti"), self.task_id))
        except AdjustConfigurationError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    def _reconcile(self, task: TaskInstanceId) -> dict[str, Any]:
        zone = load_timezone(self.timezone)
        token = token_of(self.endpoint, None)
        tolerance = Tolerance.of(self.tolerance, self.revenue_tolerance)
        hook = AdjustS2SHook(self.adjust_conn_id, app_token=self.app_token, environment=self.environment)
        hook.settings.report_client()  # reports missing fields before the warehouse is read
        warehouse = self._warehouse_totals(token)
        comparisons = compared(
            warehouse,
            hook.reported_totals(warehouse, zone),
            baseline=read_expectations(
                self.baseline or [], "baseline", zone=zone, date_period=self.date_period, event_token=token
            ),
            ledger=self._ledger(warehouse, hook, zone),
        )
        self._keep_verdicts(comparisons, tolerance, hook, task)
        table = comparison_table(comparisons, lambda each: each.verdict(tolerance), expected_name="warehouse")
        differing = [each for each in comparisons if each.differs(tolerance)]
        self.log.info("The warehouse and Adjust\n%s\n%s", table, what_is_compared(comparisons))
        if differing:
            shown = comparison_table(differing, lambda each: each.verdict(tolerance), expected_name="warehouse")
            raise RevenueDiffers(
                f"Adjust differs from the warehouse in {len(differing):,} of {len(comparisons):,} lines.\n{excerpt(shown)}\n"
                f"{what_is_compared(differing)}\n"
                "What to do: compare again later, since reports are late; docs/guides/reconcile.md lists the other causes."
            )
        return _result(comparisons)

    def _warehouse_totals(self, token: str | None) -> list[EventTotals]:
        """The query's totals, completed by a total of 0 for each event token on each other day of the period."""
        hook = sql_hook(self.sql_conn_id, self.hook_params)
        with stream_rows(hook, self.sql, self.parameters, _FETCH_SIZE, [COLUMNS]) as rows:
            column_names(rows.description, [COLUMNS])  # refuses repeated names
            found = merged(read_totals(row, "the sql", event_token=token) for row in rows)
        if not found:
            raise AdjustConfigurationError(
                "the sql returned no rows, so there is nothing to compare; for a day without events, return a row with "
                "events 0"
            )
        days = (
            Days(min(each.days.first for each in found), max(each.days.last for each in found))
            if self.date_period in (None, "")
            else Days.parse(self.date_period, "date_period")
        )
        if outside := [each.days for each in found if not days.first <= each.days.first <= days.last]:
            raise AdjustConfigurationError(
                f"the sql returned {outside[0]}, which is outside date_period {days}; make both cover the same days"
            )
        currencies: dict[str, str | None] = {}
        for each in found:
            currencies[each.event_token] = currencies.get(each.event_token) or each.currency
        nothing = (
            EventTotals(name, Days(day, day), 0, Decimal(0) if currency else None, currency)
            for name, currency in currencies.items()
            for day in days
        )
        known = {each.key for each in found}
        return merged([*found, *(each for each in nothing if each.key not in known)])

    def _ledger(self, warehouse: Sequence[EventTotals], hook: AdjustS2SHook, zone: tzinfo) -> list[LedgerTotals] | None:
        if self.ledger_conn_id is None:
            return None
        client = hook.settings.report_client()
        with named_ledger_errors(self.ledger_conn_id), ledger_engine(self.ledger_conn_id) as engine:
            return ledger_totals(
                engine,
                warehouse,
                app_token=client.app_token,
                environment=client.environment,
                destination=hook.settings.target.host,
                zone=zone,
            )

    def _keep_verdicts(
        self, comparisons: Sequence[Comparison], tolerance: Tolerance, hook: AdjustS2SHook, task: TaskInstanceId
    ) -> None:
        """Write the verdict of each day to the ledger, for the page. A total of several days has no verdict by day."""
        if self.ledger_conn_id is None:
            return
        client = hook.settings.report_client()
        found = [
            ComparedDay(
                Scope(
                    hook.settings.target.host,
                    client.app_token,
                    *endpoint_and_key(each.expected.event_token),
                    client.environment,
                ),
                each.expected.days.first,
                each.first_gap(tolerance),
                sent_events=each.ledger.delivered.events,
                sent_revenue=each.ledger.delivered.revenue,
                seen_events=each.booked.events if each.booked.is_counted else None,
                seen_revenue=each.booked.revenue,
                currency=each.expected.currency or "",
                zone=self.timezone,
            )
            for each in comparisons
            if each.ledger and each.expected.days.first == each.expected.days.last
        ]
        with named_ledger_errors(self.ledger_conn_id), ledger_engine(self.ledger_conn_id) as engine:
            write_verdicts(engine, "report", task, found)


def _result(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The dict for the XCom, in JSON types."""
    return {
        "compared": len(comparisons),
        "first_day": min(each.expected.days.first for each in comparisons).isoformat(),
        "last_day": max(each.expected.days.last for each in comparisons).isoformat(),
        "events": {
            "warehouse": sum(each.expected.events for each in comparisons),
            "adjust": sum(each.booked.events for each in comparisons) if _is_counted(comparisons) else None,
        },
        "revenue": {
            "warehouse": _revenue([each.expected for each in comparisons]),
            "adjust": _revenue([each.booked for each in comparisons]),
        },
    }


def _is_counted(comparisons: Sequence[Comparison]) -> bool:
    return all(each.booked.is_counted for each in comparisons)


def _revenue(totals: Sequence[EventTotals]) -> dict[str, str]:
    amounts: dict[str, Decimal] = {}
    for each in totals:
        for currency, amount in each.amounts.items():
            amounts[currency] = amounts.get(currency, Decimal(0)) + amount
    return {currency: shown_amount(amount).replace(",", "") for currency, amount in sorted(amounts.items())}
