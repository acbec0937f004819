"""Whether the warehouse has the events to send, judged by one row of a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.times import load_timezone, read_time
from airflow_provider_adjust.s2s.events.values import is_missing
from airflow_provider_adjust.sql_rows import Parameters, sql_hook, stream_rows

#: The count, and the time of the last load.
_MOST_COLUMNS = 2
#: The expected row, and one more to detect too many.
_MOST_ROWS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyQuery:
    """The query that counts the events, and the conditions on its row."""

    sql: str
    sql_conn_id: str
    parameters: Parameters = None
    hook_params: Mapping[str, Any] | None = None
    min_events: int = 1
    settle_for: timedelta | None = None
    timezone: str = "UTC"

    def poll(self) -> PollResult:
        """Run the query once.

        :raises AdjustConfigurationError: its result is not one row of a count and, at most, a time.
        """
        hook = sql_hook(self.sql_conn_id, self.hook_params)
        with stream_rows(hook, self.sql, self.parameters, _MOST_ROWS, timezone=self.timezone) as rows:
            found, *rest = self._row(list(islice(rows.values, _MOST_ROWS)))
        count = _count(found)
        if count < self.min_events:
            return PollResult(False, f"{count:,} events are there; waiting for {self.min_events:,}")
        quiet_for = self._quiet_for(rest) if count and self.settle_for else None
        if quiet_for is not None and self.settle_for is not None and quiet_for < self.settle_for:
            return PollResult(
                False,
                f"{count:,} events are there; the last was loaded {quiet_for} ago, waiting for {self.settle_for}",
            )
        return PollResult(True, f"{count:,} events are ready", count)

    def _row(self, records: Sequence[Sequence[Any]]) -> Sequence[Any]:
        if len(records) > 1:
            raise AdjustConfigurationError(
                "the sql returns more than one row; it must return one: the count of the events and, for settle_for, the "
                "time of the last load"
            )
        if not records:
            return (0,)
        [row] = records
        if len(row) > _MOST_COLUMNS:
            raise AdjustConfigurationError(
                f"the sql returns {len(row):,} columns; it must return one row of the count of the events and, for "
                "settle_for, the time of the last load"
            )
        return row

    def _quiet_for(self, rest: Sequence[Any]) -> timedelta:
        if not rest or is_missing(rest[0]):
            raise AdjustConfigurationError(
                "settle_for needs the sql to return a second column, the time at which the last event was loaded"
            )
        try:
            # A local time that occurs twice means the later moment: waiting longer does no harm.
            shown = rest[0].replace(fold=1) if isinstance(rest[0], datetime) and not rest[0].tzinfo else rest[0]
            loaded_at = read_time("the load time", shown, load_timezone(self.timezone))
        except InvalidEvent as error:
            raise AdjustConfigurationError(error.detail) from None
        return datetime.now(UTC) - loaded_at


def _count(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        raise AdjustConfigurationError(
            f"the first column of the sql is a {type(value).__name__}; it must be the count of the events"
        ) from None
