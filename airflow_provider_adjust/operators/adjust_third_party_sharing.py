"""AdjustThirdPartySharingOperator: tells Adjust which devices' data it may share with third parties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from airflow.sdk import Context

from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.s2s.endpoints.endpoint import THIRD_PARTY_SHARING
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.rows import Row
from airflow_provider_adjust.sql_rows import Parameters, known_names, sql_hook, stream_rows


class AdjustThirdPartySharingOperator(AdjustSendEventsOperator):
    """Tell Adjust which devices' data it may share with third parties.

    A row has device ids and ``sharing``, ``enable`` or ``disable``. The rows of a device are sent one after another, and the
    last one counts. With a ledger, a choice that Adjust already has is not sent again. The XCom is a dict of counts.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_third_party_sharing import AdjustThirdPartySharingOperator

        AdjustThirdPartySharingOperator(
            task_id="opt_outs",
            sql_conn_id="warehouse",
            sql='''
                SELECT gps_adid, idfa, CASE WHEN opted_out THEN 'disable' ELSE 'enable' END AS sharing
                FROM consents
                ORDER BY changed_at
            ''',
            ledger_conn_id="adjust_ledger",
        )

    :param sql: one SELECT, inline or the path of a ``.sql`` file. (templated)
    :param sql_conn_id: the database connection; its hook must be a ``DbApiHook``. (templated)
    :param parameters: values for the query's placeholders. (templated)
    :param hook_params: arguments for the connection's hook.
    :param fetch_size: rows fetched at a time.
    :param events: instead of a query, the rows, as in
        :class:`~airflow_provider_adjust.operators.adjust_send_events.AdjustSendEventsOperator`. (templated)

    All other arguments are those of
    :class:`~airflow_provider_adjust.operators.adjust_delivery.AdjustDeliveryOperator`. Event tokens, ``id_field`` and
    ``on_in_doubt="verify"`` are refused: they make no sense here.

    :raises AdjustConfigurationError: there are both a query and rows, or neither.
    """

    template_fields: Sequence[str] = ("sql", "sql_conn_id", "parameters", *AdjustSendEventsOperator.template_fields)
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}

    def __init__(
        self,
        *,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Parameters = None,
        hook_params: Mapping[str, Any] | None = None,
        fetch_size: int = 2000,
        events: Any = None,
        **kwargs: Any,
    ) -> None:
        if (events is None) == (sql is None) or (sql is None) != (sql_conn_id is None):
            raise AdjustConfigurationError("give sql and sql_conn_id, or events, and not both")
        super().__init__(events=events, **{"endpoint": THIRD_PARTY_SHARING.name} | kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.fetch_size = fetch_size

    def hide_rendered_fields(self) -> None:
        """Hide rows, which hold device ids."""
        if self.events is not None:
            super().hide_rendered_fields()

    def rows(self, context: Context, stack: ExitStack) -> Sequence[Row] | Iterable[Row]:
        if self.sql is None:
            return super().rows(context, stack)
        hook, options = sql_hook(self.sql_conn_id or "", self.hook_params), self.row_options()
        known = known_names(options, self.route_by)
        rows = stack.enter_context(
            stream_rows(hook, self.sql, self.parameters, self.fetch_size, known, options.timezone)
        )
        self.check_columns(rows.columns, "the sql")
        return rows
