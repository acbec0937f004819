"""``@task.adjust_events``: a task that sends the rows that a function returns or yields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from airflow.sdk import Asset, Context
from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from airflow_provider_adjust.airflow_versions import determine_kwargs
from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator
from airflow_provider_adjust.operators.adjust_send_events import as_rows, is_frame
from airflow_provider_adjust.rendered_fields import HidesRenderedFields, hide, reveal
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.rows import Row

#: Types of arguments that cannot hold rows. Airflow may show them.
_SHOWN = (type(None), bool, int, float, Decimal, date, timedelta, Asset)


class AdjustEventsDecoratedOperator(HidesRenderedFields, DecoratedOperator, AdjustDeliveryOperator):
    """The operator of ``@task.adjust_events``: calls the function on the worker and sends its rows.

    The rows are neither logged nor pushed to XCom, which has the delivery's result.

    :param python_callable: the function. It returns a list of rows, which is then sorted, or yields rows in time order.
    :param op_args: its positional arguments. (templated)
    :param op_kwargs: its keyword arguments. (templated)

    The other arguments are those of
    :class:`~airflow_provider_adjust.operators.adjust_delivery.AdjustDeliveryOperator`.
    """

    custom_operator_name = "@task.adjust_events"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *AdjustDeliveryOperator.template_fields)
    template_fields_renderers = DecoratedOperator.template_fields_renderers

    def hide_rendered_fields(self) -> None:
        """Hide arguments that may hold rows, such as the output of an upstream task."""
        self.op_args = [_hidden(value) for value in self.op_args]
        self.op_kwargs = {name: _hidden(value) for name, value in self.op_kwargs.items()}

    def execute(self, context: Context) -> Any:
        self.op_args = [reveal(value) for value in self.op_args]
        self.op_kwargs = {name: reveal(value) for name, value in self.op_kwargs.items()}
        return super().execute(context)

    def rows(self, context: Context, stack: ExitStack) -> Sequence[Row] | Iterable[Row]:
        known = {**context, **self.op_kwargs}
        made = self.python_callable(*self.op_args, **determine_kwargs(self.python_callable, self.op_args, known))
        if is_frame(made) or (isinstance(made, Sequence) and not isinstance(made, str | bytes)):
            return as_rows(made, check=self.check_columns)
        if isinstance(made, Iterator):
            # At the end of the delivery, so that a generator that is not exhausted frees its resources.
            stack.callback(getattr(made, "close", lambda: None))
            return made
        raise AdjustConfigurationError(
            f"the function of {self.custom_operator_name} must return a list of rows or yield rows, not return a "
            f"{type(made).__name__}; put a single row into a list"
        )


def _hidden(value: Any) -> Any:
    """The argument, hidden unless its kind shows that it cannot be a row or a list of rows."""
    is_plain_text = isinstance(value, str) and not value.lstrip().startswith(("[", "{"))
    if is_plain_text or isinstance(value, _SHOWN):
        return value
    return hide(value, f"{type(value).__name__} (not shown: it may hold device ids)")


def adjust_events_task(
    python_callable: Callable[..., Iterable[Mapping[str, Any]]] | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> TaskDecorator:
    """Turn a function that returns or yields rows into a task that sends them.

    .. code-block:: python

        @task.adjust_events(event_token="f0ob4r", id_field="order_id")
        def send_purchases() -> Iterator[dict[str, Any]]:
            yield {"order_id": "001", "gps_adid": "...", "created_at": "...", "revenue": "9.90", "currency": "USD"}

    :param python_callable: the function. It returns a list of rows, which is then sorted, or yields rows in time order.
    :param multiple_outputs: push each number of the result under its own XCom key as well.
    :param kwargs: the arguments of ``AdjustSendEventsOperator`` except ``events``, and those of any task.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=AdjustEventsDecoratedOperator,
        **kwargs,
    )
