"""JDBC: jaydebeapi, which hands on objects of Java for the types that it does not know."""

from __future__ import annotations

from typing import Any

from airflow_provider_adjust.sources.source import ReadValue, Source

#: Java's own types with a text that says all there is, times and UUIDs for two.
_WITH_A_TEXT = frozenset({"java.time", "java.util.UUID", "java.math"})


def _value_reader(column: Any) -> ReadValue:
    return _from_java


def _from_java(value: Any) -> Any:
    module = type(value).__module__
    return str(value) if module in _WITH_A_TEXT or f"{module}.{type(value).__name__}" in _WITH_A_TEXT else value


JDBC = Source(value_reader=_value_reader)
