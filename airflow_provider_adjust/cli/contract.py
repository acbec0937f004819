"""``contract``: the columns that the provider expects, as a contract that dbt enforces when it builds the model."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace

from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import given
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.s2s.endpoints.endpoint import (
    AD_REVENUE,
    EVENT,
    THIRD_PARTY_SHARING,
    Endpoint,
    endpoint_named,
)
from airflow_provider_adjust.s2s.events.columns import Column, Columns
from airflow_provider_adjust.s2s.events.first_contact import check_columns
from airflow_provider_adjust.s2s.events.options import RowOptions

_DEVICE = ("gps_adid", "idfa")
#: The default columns, in addition to those of ``id_field``; for events, those of a purchase.
_COLUMNS = {
    EVENT.name: ("created_at", "revenue", "currency", *_DEVICE, "os_name"),
    AD_REVENUE.name: ("created_at", "revenue", "currency", "ad_impressions_count", *_DEVICE, "os_name"),
    THIRD_PARTY_SHARING.name: ("sharing", *_DEVICE),
}
#: dbt's type names, which it translates for each warehouse. A number without a scale may be rounded there.
_TYPES = {"time": "timestamp", "flag": "boolean", "integer": "bigint"}
_AMOUNT = "numeric(18, 3)"
#: For amounts without a lower limit. Nine decimals are the most that every warehouse supports.
_TINY_AMOUNT = "numeric(38, 9)"
#: A placeholder, never shown: without an event token the columns would be incomplete.
_TAKEN_AS_GIVEN = "given"


def contract(options: Namespace, terminal: Terminal) -> int:
    """Write the contract of the columns to stdout.

    :raises AdjustConfigurationError: a task could not send a source with these columns.
    """
    row_options = given(options, RowOptions)
    endpoint = endpoint_named(row_options.endpoint)
    names = options.columns or (*row_options.id_columns, *_COLUMNS[endpoint.name])
    is_named = row_options.event_token or row_options.event_tokens or "event_token" in names
    checked = row_options if is_named or not endpoint.has_tokens else replace(row_options, event_token=_TAKEN_AS_GIVEN)
    check_columns(names, f"the model {options.model}", checked)
    # Not through the terminal, which wraps and truncates long lines.
    sys.stdout.writelines(f"{line}\n" for line in _dbt(options.model, names, checked, endpoint))
    return ExitCode.OK


def _dbt(model: str, names: Sequence[str], options: RowOptions, endpoint: Endpoint) -> Iterator[str]:
    """The lines of a properties file of dbt. A string of JSON is one of YAML."""
    columns = Columns(options, endpoint)
    yield from ("version: 2", "models:", f"  - name: {json.dumps(model)}")
    yield from ("    config:", "      contract:", "        enforced: true", "    columns:")
    for name in names:
        yield from _column(name, columns.meaning(name), options, endpoint)


def _column(name: str, column: Column, options: RowOptions, endpoint: Endpoint) -> Iterator[str]:
    parameter = column.parameter
    is_id = name in options.id_columns
    yield f"      - name: {json.dumps(name)}"
    yield f"        data_type: {_type_of(column, endpoint)}"
    yield f"        description: {json.dumps(_description(column, is_id=is_id), ensure_ascii=False)}"
    if is_id or column.kind == "time" or parameter.name in {*endpoint.rules.required} - {*endpoint.defaults}:
        yield from ("        constraints:", "          - type: not_null")
    elif parameter.minimum is not None and name.isidentifier():
        yield from ("        constraints:", "          - type: check")
        yield f"            expression: {json.dumps(f'{name} >= {parameter.minimum}')}"
        # Only some warehouses check; the others need no warning each night.
        yield from ("            warn_unsupported: false", "            warn_unenforced: false")
    yield from _tests(column, is_only_id=options.id_columns == (name,))


def _type_of(column: Column, endpoint: Endpoint) -> str:
    if column.kind == "money":
        return _TINY_AMOUNT if endpoint.min_amount is None else _AMOUNT
    return "bigint" if column.parameter.name == "created_at_unix" else _TYPES.get(column.kind, "string")


def _description(column: Column, *, is_id: bool) -> str:
    if column.parameter.description:
        return column.parameter.description
    if is_id:
        return "Identifies the event. Sent in callback_params, under the name that event_id_param gives."
    return "The event's name, which event_tokens turns into its token." if column.kind == "event" else ""


def _tests(column: Column, *, is_only_id: bool) -> Iterator[str]:
    if is_only_id:
        yield from ("        data_tests:", "          - unique")
    elif column.kind == "choice":
        yield from ("        data_tests:", "          - accepted_values:", "              arguments:")
        yield f"                values: {json.dumps(list(column.parameter.choices))}"
