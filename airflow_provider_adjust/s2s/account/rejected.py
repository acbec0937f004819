"""The rejected file: one JSON line for each event that Adjust does not have, with the reason and the row.

The user corrects the rows, so the file holds them in full, device ids included. A corrected file can be passed as ``events``:
its lines are recognised by their keys, and keep their event ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT
from airflow_provider_adjust.s2s.events.columns import Columns
from airflow_provider_adjust.s2s.events.options import RowOptions
from airflow_provider_adjust.s2s.events.rows import ResubmittedRow
from airflow_provider_adjust.s2s.events.values import is_missing, is_nan, scalar_text
from airflow_provider_adjust.s2s.redaction import VALUE_ERRORS, safe_repr

#: The key of a rejected line that holds the row.
ROW_KEY = "row"
#: The key of the unkeyed id, in lines of events without an id in their row.
UNKEYED_KEY = "unkeyed_id"
_ENVELOPE = frozenset({"position", "event_id", "outcome", "reason", "detail", ROW_KEY})
_ALL_KEYS = _ENVELOPE | {"remedy", "http_status", "attempts"}
#: The key that marks a row with the column names of its source.
_AS_GIVEN = "as_given"
#: The key of the endpoint, in lines of endpoints other than /event.
_ENDPOINT = "endpoint"
_RESPONSE = frozenset({"event_id", "response"})
_AS_ADJUST_NAMES_THEM = Columns(RowOptions(), EVENT)
_IsAmount = Callable[[Any], bool]


def rejected_line(receipt: Receipt, columns: Columns = _AS_ADJUST_NAMES_THEM) -> str:
    """Return the receipt and its row as one line of JSON, without the line's end.

    The row is listed under Adjust's names and without the ignored columns, so that it can be sent again without
    ``column_map`` and ``ignore_columns``. If two columns have the same name, the row is listed unchanged, and the line says so.
    """
    row, is_renamed = columns.renamed(receipt.row) if isinstance(receipt.row, Mapping) else (receipt.row, True)
    entry: dict[str, Any] = {
        "position": receipt.position,
        "event_id": receipt.event_id,
        "outcome": receipt.outcome.value,
        "reason": receipt.reason,
        "remedy": reason_of(receipt.reason).remedy,
        "detail": receipt.detail,
        "http_status": receipt.http_status,
        "attempts": receipt.attempts,
    }
    if receipt.event is not None and receipt.event.unkeyed_id is not None:
        # It allows a change of the digest key before the line is sent again. It reveals no more than the row.
        entry[UNKEYED_KEY] = receipt.event.unkeyed_id
    if not is_renamed:
        entry[_AS_GIVEN] = True
    if columns.endpoint is not EVENT:
        entry[_ENDPOINT] = columns.endpoint.name
    try:
        return json.dumps({**entry, ROW_KEY: _plain_row(row, _plain, columns.is_amount)})
    except VALUE_ERRORS:  # a number of 5,000 digits, endlessly nested lists
        return json.dumps({**entry, ROW_KEY: _plain_row(row, _plain_or_text, columns.is_amount)})


def resubmitted_row(line: Any) -> Any:
    """The row in a line of a rejected file, with its event id. Anything that is not a row is refused again."""
    row = line[ROW_KEY]
    if not isinstance(row, Mapping):
        return row
    unkeyed_id, endpoint = line.get(UNKEYED_KEY), line.get(_ENDPOINT)
    return ResubmittedRow(
        row,
        line["event_id"],
        unkeyed_id if isinstance(unkeyed_id, str) else None,
        as_given=line.get(_AS_GIVEN) is True,
        endpoint=endpoint if isinstance(endpoint, str) else None,
    )


def response_line(receipt: Receipt) -> str:
    """Return Adjust's answer to the event as one line of JSON, without the line's end."""
    return json.dumps({"event_id": receipt.event_id, "response": receipt.response})


def is_rejected_line(row: Any) -> bool:
    """Whether the row is a line of a rejected file."""
    return isinstance(row, Mapping) and row.keys() >= _ENVELOPE


def is_whole_line(row: Any) -> bool:
    """Whether the row has all keys of a line of a rejected file."""
    return isinstance(row, Mapping) and row.keys() - {_AS_GIVEN, UNKEYED_KEY, _ENDPOINT} == _ALL_KEYS


def is_response_line(row: Any) -> bool:
    """Whether the row is a line of a responses file."""
    return isinstance(row, Mapping) and row.keys() == _RESPONSE


def _plain_row(row: Any, plain: Callable[[Any], Any], is_amount: _IsAmount) -> Any:
    """The row in JSON types. An amount of NaN stays NaN: as a missing value, the event would be sent without revenue."""
    if not isinstance(row, Mapping):
        return plain(row)
    return {
        name if isinstance(name, str) else safe_repr(name): "NaN" if is_amount(name) and is_nan(value) else plain(value)
        for name, value in row.items()
    }


def _plain_or_text(value: Any) -> Any:
    try:
        json.dumps(plain := _plain(value))
        return plain
    except VALUE_ERRORS:
        return safe_repr(value)


def _plain(value: Any) -> Any:
    """The value in JSON types that read back as the same event."""
    if is_missing(value) and not isinstance(value, str):
        return None
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    text = scalar_text(value)
    return str(value) if text is None else text
