"""The lineage of a run, its sources and destinations, for Airflow's hook lineage and for OpenLineage.

Lineage contains only names of tables, files, apps and events: neither the text of a query, which may contain an address or an
id, nor values of parameters or rows. An error here is logged and does not fail the delivery.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow.sdk import Asset, BaseHook, ObjectStoragePath

from airflow_provider_adjust.airflow_versions import NoOpCollector, get_hook_lineage_collector
from airflow_provider_adjust.assets.adjust import convert_asset_to_openlineage, create_asset
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    # The OpenLineage provider is optional.
    from airflow.providers.openlineage.extractors import OperatorLineage

    Lineage: TypeAlias = OperatorLineage[Any, Any]

log = logging.getLogger(__name__)

#: Outcomes of events that Adjust has, from this try or from an earlier one.
_AT_ADJUST = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.SKIPPED})
#: The placeholders of drivers. OpenLineage's parser fails on them; it reads ``:name`` in any dialect.
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%s")


class Destinations:
    """The apps and events that a run delivered to, collected from its receipts, since a row may name its own."""

    def __init__(self) -> None:
        self._places: set[tuple[str, str, str | None]] = set()

    def add(self, receipt: Receipt) -> None:
        if receipt.event is not None and receipt.outcome in _AT_ADJUST:
            params = receipt.event.params
            endpoint = receipt.event.endpoint
            self._places.add(
                (params["app_token"], endpoint.name, params["event_token"] if endpoint.has_tokens else None)
            )

    @property
    def assets(self) -> list[Asset]:
        return [
            create_asset(app_token=app, endpoint=endpoint, event_token=event)
            for app, endpoint, event in sorted(self._places, key=str)
        ]

    def report(self, hook: BaseHook) -> None:
        """Report the destinations to Airflow's hook lineage as outputs of the hook."""
        with lineage_errors_logged():
            for asset in self.assets:
                get_hook_lineage_collector().add_output_asset(hook, uri=asset.uri)


def report_query(hook: DbApiHook, sql: str, conn_id: str, *, has_parameters: bool) -> None:
    """Report the tables of a query to Airflow's hook lineage, if OpenLineage's parser is installed."""
    with lineage_errors_logged():
        collector = get_hook_lineage_collector()
        if isinstance(collector, NoOpCollector):
            return  # nothing reads it, and loading the parser would take more than half of a task's start
        try:
            found = query_lineage(hook, sql, conn_id, has_parameters=has_parameters)
        except ImportError:
            return
        for table in found.inputs if found else ():
            collector.add_input_asset(hook, uri=f"{table.namespace}/{table.name.replace('.', '/')}")


def report_file(path: ObjectStoragePath) -> None:
    """Report a file to Airflow's hook lineage, which does not detect a file that is read line by line."""
    with lineage_errors_logged():
        get_hook_lineage_collector().add_input_asset(path, uri=path.as_uri())


def query_lineage(hook: DbApiHook, sql: str, conn_id: str, *, has_parameters: bool) -> Lineage | None:
    """The tables of a query; None if OpenLineage does not know the hook's database."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql

    if has_parameters:
        sql = _PLACEHOLDER.sub(lambda found: f":{found[1] or 'value'}", sql).replace("%%", "%")
    # Without the connection, since reading the tables' columns would need a query.
    found = get_openlineage_facets_with_sql(hook, sql, conn_id, None, use_connection=False)
    # The other facets contain the query's text, even the one about parse errors.
    return found and OperatorLineage(inputs=[Dataset(table.namespace, table.name) for table in found.inputs])


def file_lineage(path: ObjectStoragePath) -> Lineage | None:
    """The file as an input; None if OpenLineage has no name for its storage."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.providers.openlineage.utils.utils import translate_airflow_asset

    dataset = translate_airflow_asset(Asset(uri=path.as_uri()), None)
    return OperatorLineage(inputs=[dataset]) if dataset else None


def run_lineage(source: Callable[[], Lineage | None], destinations: Destinations) -> Lineage | None:
    """The inputs and outputs of a run for OpenLineage; None if its provider is not installed."""
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    found = None
    with lineage_errors_logged():
        found = source()
    outputs = [convert_asset_to_openlineage(asset, None) for asset in destinations.assets]
    return OperatorLineage(inputs=found.inputs if found else [], outputs=outputs)


@contextmanager
def lineage_errors_logged() -> Iterator[None]:
    """Log an exception as a warning instead of raising it."""
    try:
        yield
    except Exception as error:
        # Only the type: the message of a database or a storage may contain an address with a password.
        log.warning("The lineage of this run is incomplete (%s)", type(error).__name__)
