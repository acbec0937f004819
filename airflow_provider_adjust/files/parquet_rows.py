"""Rows from a Parquet file, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_adjust.files.head import CheckColumns, any_columns, check_is_head
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.events.options import RowOptions

_BATCH = 2000


def parquet_rows(file: Any, where: str, options: RowOptions, check: CheckColumns = any_columns) -> Iterator[Any]:
    """The file's rows. Its schema is read and checked immediately.

    :param where: the file, for messages.
    :param check: called with the names of the columns.
    :raises AdjustConfigurationError: pyarrow is missing, the file is not Parquet, or its columns cannot be used.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise AdjustConfigurationError("a Parquet file needs pyarrow; install it where the file is read") from None
    try:
        parquet = ParquetFile(file)
    except pa.ArrowInvalid:
        raise AdjustConfigurationError(f"{where} is not a Parquet file, or was not written to its end") from None
    check_is_head(parquet.schema_arrow.names, where, options)
    check(parquet.schema_arrow.names, where)
    return _rows(parquet, _readable(parquet.schema_arrow))


def _rows(parquet: Any, schema: Any) -> Iterator[Any]:
    for batch in parquet.iter_batches(_BATCH):
        # Without the check of `safe`: fractions below a microsecond are dropped.
        columns = [
            column if column.type == field.type else column.cast(field.type, safe=False)
            for column, field in zip(batch.columns, schema, strict=True)
        ]
        yield from type(batch).from_arrays(columns, schema=schema).to_pylist()


def _readable(schema: Any) -> Any:
    """The schema in types that Python reads without loss, except nanoseconds, which its times lack."""
    import pyarrow as pa

    fields = []
    for field in schema:
        kind = field.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            kind = pa.timestamp("us", kind.tz)
        elif pa.types.is_time64(kind) and kind.unit == "ns":
            kind = pa.time64("us")
        elif pa.types.is_duration(kind) and kind.unit == "ns":
            kind = pa.duration("us")
        elif pa.types.is_float32(kind) or pa.types.is_float16(kind):
            kind = pa.string()  # as text: 9.9 as a Python float would be 9.899999618530273
        fields.append(field.with_type(kind))
    return pa.schema(fields)
