"""AdjustSendEventsOperator: events from a list, a template, an upstream task, or a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, ObjectStoragePath

from airflow_provider_adjust.files.event_files import read_rows
from airflow_provider_adjust.files.folder import path_of
from airflow_provider_adjust.files.head import CheckColumns, any_columns
from airflow_provider_adjust.files.json_rows import load_json
from airflow_provider_adjust.lineage import file_lineage, report_file
from airflow_provider_adjust.operators.adjust_delivery import AdjustDeliveryOperator
from airflow_provider_adjust.rendered_fields import HidesRenderedFields, hide, reveal
from airflow_provider_adjust.s2s.account.rejected import is_rejected_line, resubmitted_row
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.rows import Row, RowList
from airflow_provider_adjust.s2s.redaction import quote

if TYPE_CHECKING:
    from airflow_provider_adjust.lineage import Lineage


class AdjustSendEventsOperator(HidesRenderedFields, AdjustDeliveryOperator):
    """Send a list, an upstream task's output, a data frame or a file to Adjust, in time order per device and event token.

    The XCom is a dict of counts and revenue by outcome.

    .. code-block:: python

        from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

        AdjustSendEventsOperator(
            task_id="send_purchases",
            events="s3://aws_default@bucket/purchases/{{ ds }}.jsonl.gz",
            event_token="f0ob4r",
            id_field="order_id",
        )

    :param events: the rows, or the path of a file of rows. Rows are a list, a data frame of pandas or polars, the output of
        an upstream task, or JSON text of a list (``"{{ ti.xcom_pull('load') | tojson }}"``). A path names a ``.jsonl``,
        ``.json``, ``.csv`` or ``.parquet`` file, or a folder of them, local or on object storage, ``.gz`` included; a
        relative path is below ``[adjust] files_folder``. Lists, data frames, ``.json`` files and rejected files of earlier
        runs are sorted by time; all other files must be in time order. (templated)

    All other arguments are those of
    :class:`~airflow_provider_adjust.operators.adjust_delivery.AdjustDeliveryOperator`.
    """

    template_fields: Sequence[str] = ("events", *AdjustDeliveryOperator.template_fields)

    def __init__(self, *, events: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.events = events
        self._template = events if isinstance(events, str) and ("{{" in events or "{%" in events) else None

    def hide_rendered_fields(self) -> None:
        """Hide rows, which hold device ids. A path may be shown."""
        if not _is_path(self.events):
            count = len(self.events) if isinstance(self.events, Sized) and not isinstance(self.events, str) else "some"
            self.events = hide(self.events, f"{count} events (not shown: they hold device ids)")

    def rows(self, context: Context, stack: ExitStack) -> Sequence[Row] | Iterable[Row]:
        events = self._given
        if self._template is not None and is_nothing(events):
            raise AdjustConfigurationError(
                f"events rendered to nothing from the template {quote(self._template, 100)}; check the task or value that it "
                "names. To send no rows, give an empty list, []"
            )
        if path := _path(events):
            events = stack.enter_context(read_rows(path, self.row_options(), check=self.check_columns))
            report_file(path)
        elif isinstance(events, str):
            events = list_in(events)
        return as_rows(events, check=self.check_columns)

    def source_lineage(self) -> Lineage | None:
        path = _path(self._given)
        return file_lineage(path) if path else None

    @property
    def _given(self) -> Any:
        return reveal(self.events)


def as_rows(
    events: Any, *, check: CheckColumns = any_columns, argument: str = "events"
) -> Sequence[Row] | Iterable[Row]:
    """The given events as a list, which will be sorted, or as a stream in time order. Rejected lines are replaced by their rows.

    A list of lists, such as the outputs of a mapped task, is flattened by one level.

    :param check: called with the columns of each data frame.
    :param argument: the name of the argument, for the message.
    :raises AdjustConfigurationError: they are neither.
    """
    if is_frame(events):
        return _rows_of_frame(events, check)
    if isinstance(events, Mapping | str | bytes) or not isinstance(events, Iterable):
        raise AdjustConfigurationError(
            f"{argument} must be a list of rows, not a {type(events).__name__}; put a single row into a list"
        )
    if not isinstance(events, Sequence):
        # The output of an upstream mapped task is a lazy sequence; the rows of a file are a stream.
        if not hasattr(events, "__len__"):
            return events
        events = list(events)
    return RowList(corrected_row(row) for item in events for row in _rows_of_item(item, check))


def _rows_of_item(item: Any, check: CheckColumns) -> Sequence[Any]:
    """The rows in an item of a list: the item itself, or a list of rows from one task."""
    if isinstance(item, list | tuple):
        return item
    return _rows_of_frame(item, check) if is_frame(item) else [item]


def is_frame(value: Any) -> bool:
    """Whether the value is a data frame. Judged by its methods, since pandas and polars may not be installed."""
    has_rows = hasattr(value, "to_dicts") or hasattr(value, "to_dict")
    return has_rows and hasattr(value, "columns") and not isinstance(value, Mapping)


def _rows_of_frame(frame: Any, check: CheckColumns) -> list[Any]:
    if columns := list(frame.columns):
        check(columns, "the data frame")
    return RowList(frame.to_dicts() if hasattr(frame, "to_dicts") else frame.to_dict("records"))


def is_nothing(events: Any) -> bool:
    """Whether a template gave no value; without native types, None is rendered as a word."""
    return events is None or (isinstance(events, str) and events.strip() in {"", "None", "null"})


def _is_path(events: Any) -> bool:
    return isinstance(events, str) and bool(events.strip()) and events.lstrip()[0] not in "[{"


def _path(events: Any) -> ObjectStoragePath | None:
    return path_of(events) if isinstance(events, ObjectStoragePath) or _is_path(events) else None


def corrected_row(row: Any) -> Any:
    """The row itself, or the row in a line of a rejected file, which keeps its event id."""
    return resubmitted_row(row) if is_rejected_line(row) else row


def list_in(text: str, argument: str = "events") -> Any:
    """Parse JSON text.

    :param argument: the name of the argument, for the message.
    :raises AdjustConfigurationError: it is not JSON.
    """
    if not text.strip():
        return []
    try:
        return load_json(text)
    except (ValueError, RecursionError) as error:
        raise AdjustConfigurationError(
            f"{argument} is not a JSON list (line {getattr(error, 'lineno', '?')}, column {getattr(error, 'colno', '?')}); in "
            "a template, end the expression with `| tojson`, or pass the upstream task's output itself"
        ) from None
