"""JDBC through jaydebeapi, which returns Java objects for types that it does not know."""

from __future__ import annotations

from typing import Any

from airflow_provider_adjust.sources.source import ReadValue, Source

#: Java's own classes with a lossless text.
_WITH_A_TEXT = ("java.time.", "java.math.", "java.util.UUID")


def _value_reader(column: Any, timezone: str) -> ReadValue:
    return _from_java


def _from_java(value: Any) -> Any:
    # The name of a Java class includes its package, unlike that of a Python class.
    return str(value) if type(value).__name__.startswith(_WITH_A_TEXT) else value


JDBC = Source(value_reader=_value_reader)
