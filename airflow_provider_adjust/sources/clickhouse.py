"""ClickHouse through clickhouse-driver, which holds the whole result unless it is told to stream."""

from __future__ import annotations

from typing import Any

from airflow_provider_adjust.sources.source import Source

#: Rows in a block of the server's.
_BLOCK = 10_000


def _open_cursor(connection: Any) -> Any:
    cursor = connection.cursor()
    cursor.set_stream_results(True, _BLOCK)
    return cursor


# Closing the cursor first would read the rest.
CLICKHOUSE_DRIVER = Source(open_cursor=_open_cursor, closes_connection_first=True)
