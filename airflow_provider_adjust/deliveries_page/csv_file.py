"""The list of events as a CSV file, built piece by piece, so that it is never in memory as a whole."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.deliveries_page.budget import RETRY_AFTER_S, PageFull
from airflow_provider_adjust.deliveries_page.event_list import EventRow
from airflow_provider_adjust.deliveries_page.queries import Count, Page
from airflow_provider_adjust.s2s.answers.reasons import reason_of

#: Events that one query reads.
PIECE = 2_000
#: How often a piece is requested again while the page is busy.
_TRIES = 12
#: A spreadsheet treats text that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    *("event_id", "occurred_at", "event_name", "event_token", "app_token", "connection", "environment", "status"),
    *(
        "reason",
        "meaning",
        "http_status",
        "revenue",
        "currency",
        "dag_id",
        "run_id",
        "task_id",
        "map_index",
        "try_number",
    ),
)


DAY_COLUMNS = (
    *("day", "dag_id", "event_name", "event_token", "app_token", "connection", "environment", "status", "reason"),
    *("meaning", "events", "revenue", "currency"),
)


def days_file(counts: Sequence[Count]) -> str:
    """The file of the days: their counts as they are, so that a spreadsheet can sum them up in any way."""
    return _lines([DAY_COLUMNS]) + _lines(_day_row(count) for count in counts)


def _day_row(count: Count) -> list[Any]:
    code = count.reason or ("no_answer" if count.status == "in_doubt" else "")
    return [
        count.day.isoformat(),
        count.dag_id,
        count.event_name,
        count.event_token,
        count.app_token,
        count.conn_id,
        count.environment,
        count.status,
        code,
        reason_of(code).meaning if code else "",
        count.events,
        _amount(count.revenue),
        count.currency or "",
    ]


async def pieces(first: Page[EventRow], following: Callable[[str], Awaitable[Page[EventRow]]]) -> AsyncIterator[str]:
    """The file's text: the header with the first events, then piece by piece.

    :param following: the page of events at a cursor.
    :raises PageFull: the page stayed busy, so the file is cut off, and the browser reports that.
    """
    yield _lines([COLUMNS]) + _lines(_row(event) for event in first.items)
    after = first.after
    while after is not None:
        page = await _patiently(following, after)
        yield _lines(_row(event) for event in page.items)
        after = page.after


async def _patiently(following: Callable[[str], Awaitable[Page[EventRow]]], after: str) -> Page[EventRow]:
    for _ in range(_TRIES):
        try:
            return await following(after)
        except PageFull:
            await asyncio.sleep(RETRY_AFTER_S)
    return await following(after)


def _row(event: EventRow) -> list[Any]:
    reason = event.reason
    return [
        event.event_id,
        _moment(event.occurred_at),
        event.event_name,
        event.event_token,
        event.app_token,
        event.conn_id,
        event.environment,
        event.status,
        reason.code if reason else "",
        reason.meaning if reason else "",
        "" if event.http_status is None else event.http_status,
        _amount(event.revenue),
        event.currency or "",
        event.dag_id,
        event.run_id,
        event.task_id,
        event.map_index,
        event.try_number,
    ]


def _amount(value: Decimal | None) -> str:
    return "" if value is None else format(value.normalize(), "f")


def _moment(value: datetime) -> str:
    return f"{value.isoformat(timespec='seconds')}Z"


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_no_formula(value) for value in row] for row in rows)
    return text.getvalue()


def _no_formula(value: Any) -> Any:
    """A text that no spreadsheet evaluates: a leading apostrophe marks it as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()
