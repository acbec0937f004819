"""SqlToAdjustOperator: sends the rows of a query to Adjust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Context

from airflow_provider_adjust.lineage import query_lineage, report_query
from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.sql_rows import Parameters, known_names, sql_hook, stream_rows

if TYPE_CHECKING:
    from airflow_provider_adjust.lineage import Lineage


class SqlToAdjustOperator(AdjustDeliveryOperator):
    """Send the rows of a query to Adjust, in time order per device and event token.

    The column aliases are the mapping: ``SELECT gaid AS gps_adid, total AS revenue, ...``. Rows are streamed, so the query
    needs ``ORDER BY`` on the column that is sent as ``created_at``. The XCom is a dict of counts and revenue by outcome.

    .. code-block:: python

        from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

        SqlToAdjustOperator(
            task_id="send_purchases",
            sql_conn_id="warehouse",
            sql="sql/purchases.sql",
            event_token="f0ob4r",
            id_field="order_id",
            ledger_conn_id="adjust_ledger",
        )

    :param sql: one SELECT, inline or the path of a ``.sql`` file. (templated)
    :param sql_conn_id: the database connection; its hook must be a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders, in the driver's own style. (templated)
    :param hook_params: arguments for the connection's hook.
    :param fetch_size: rows fetched at a time. Memory depends on it, and not on the size of the result.

    All other arguments are those of
    :class:`~airflow_provider_adjust.operators.adjust_delivery.AdjustDeliveryOperator`.
    """

    template_fields: Sequence[str] = ("sql", "sql_conn_id", "parameters", *AdjustDeliveryOperator.template_fields)
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Parameters = None,
        hook_params: Mapping[str, Any] | None = None,
        fetch_size: int = 2000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.fetch_size = fetch_size

    def rows(self, context: Context, stack: ExitStack) -> Iterable[Row]:
        hook = sql_hook(self.sql_conn_id, self.hook_params)
        options = self.row_options()
        known = known_names(options, self.route_by)
        rows = stack.enter_context(
            stream_rows(hook, self.sql, self.parameters, self.fetch_size, known, options.timezone)
        )
        self.check_columns(rows.columns, "the sql")
        report_query(hook, self.sql, self.sql_conn_id, has_parameters=bool(self.parameters))
        return rows

    def source_lineage(self) -> Lineage | None:
        hook = sql_hook(self.sql_conn_id, self.hook_params)
        return query_lineage(hook, self.sql, self.sql_conn_id, has_parameters=bool(self.parameters))
