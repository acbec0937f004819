"""``@task.adjust_events``: what a function returns or yields is sent to Adjust."""

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
from airflow_provider_adjust.operators.adjust_send_events import corrected_row
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.rows import Row

#: Arguments that say which rows to make, and are none themselves. Airflow may show them.
_SHOWN = (type(None), bool, int, float, Decimal, date, timedelta, Asset)


class AdjustEventsDecoratedOperator(DecoratedOperator, AdjustDeliveryOperator):
    """The task behind ``@task.adjust_events``: calls the function on the worker and sends the rows that it gives.

    The rows go nowhere else: they are neither logged nor pushed to XCom, where the delivery's result is.

    :param python_callable: the function. It returns a list of rows, which is sorted, or yields rows in time order.
    :param op_args: its positional arguments. (templated)
    :param op_kwargs: its keyword arguments. (templated)

    The other arguments are those of
    :class:`~airflow_provider_adjust.operators.adjust_delivery.AdjustDeliveryOperator`.
    """

    custom_operator_name = "@task.adjust_events"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *AdjustDeliveryOperator.template_fields)
    template_fields_renderers = DecoratedOperator.template_fields_renderers

    def _do_render_template_fields(self, parent: Any, *arguments: Any, **keywords: Any) -> None:
        # Not ``render_template_fields``: a mapped task is rendered by Airflow's stand-in for it, which calls only this.
        super()._do_render_template_fields(parent, *arguments, **keywords)
        # Airflow stores and shows what a template rendered to, and an upstream task's output may be rows.
        if parent is self:
            self.op_args = [_unshown(value) for value in self.op_args]
            self.op_kwargs = {name: _unshown(value) for name, value in self.op_kwargs.items()}

    def execute(self, context: Context) -> Any:
        self.op_args = [_given(value) for value in self.op_args]
        self.op_kwargs = {name: _given(value) for name, value in self.op_kwargs.items()}
        return super().execute(context)

    def rows(self, context: Context, stack: ExitStack) -> Sequence[Row] | Iterable[Row]:
        known = {**context, **self.op_kwargs}
        made = self.python_callable(*self.op_args, **determine_kwargs(self.python_callable, self.op_args, known))
        if isinstance(made, Sequence) and not isinstance(made, str | bytes):
            return [corrected_row(row) for row in made]
        if isinstance(made, Iterator):
            # A generator that is not read to its end closes what it has opened when the delivery ends.
            stack.callback(getattr(made, "close", lambda: None))
            return made
        raise AdjustConfigurationError(
            f"the function of {self.custom_operator_name} must return a list of rows or yield rows, not give a "
            f"{type(made).__name__}; put a single row into a list, and turn a data frame into a list of dicts"
        )


class UnshownArgument:
    """A rendered argument, which Airflow's rendered fields show as a sentence instead of its content."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return f"{type(self.value).__name__} (not shown: it may hold device ids)"

    __repr__ = __str__


def _unshown(value: Any) -> Any:
    is_words = isinstance(value, str) and not value.lstrip().startswith(("[", "{"))
    return value if is_words or isinstance(value, (*_SHOWN, UnshownArgument)) else UnshownArgument(value)


def _given(value: Any) -> Any:
    return value.value if isinstance(value, UnshownArgument) else value


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

    :param python_callable: the function; it gives a list, which is sorted, or yields rows in time order.
    :param multiple_outputs: push each number of the result under its own XCom key, too.
    :param kwargs: arguments of ``AdjustSendEventsOperator`` but ``events``, and of any task.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=AdjustEventsDecoratedOperator,
        **kwargs,
    )
