"""ClickHouse through clickhouse-driver, which holds the complete result unless it is set to stream."""

from __future__ import annotations

from typing import Any

from airflow_provider_adjust.sources.source import Source

#: Rows in a block from the server.
_BLOCK = 10_000


def _open_cursor(connection: Any) -> Any:
    cursor = connection.cursor()
    cursor.set_stream_results(True, _BLOCK)
    return cursor


# Closing the cursor first would read the remaining rows.
CLICKHOUSE_DRIVER = Source(open_cursor=_open_cursor, closes_connection_first=True)
