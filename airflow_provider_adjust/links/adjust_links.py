"""From a task that sent events to where one looks next: its deliveries, its rejected file, Adjust's dashboard.

Airflow calls ``get_link`` on the worker after each try and keeps the answer in XCom, so a link reads nothing but the
operator that has just run. For an empty link Airflow shows no button.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

#: Where the "Adjust deliveries" page is on Airflow's API server; a worker need not load what serves it.
DELIVERIES_PATH = "/adjust/"
#: Adjust documents no address of an app's own page; from here the app is one click away.
DASHBOARD_URL = "https://suite.adjust.com/"

#: Consoles that show an object by its bucket and key.
_CONSOLES = {
    "s3": "https://s3.console.aws.amazon.com/s3/object/{bucket}?prefix={key}",
    "gs": "https://console.cloud.google.com/storage/browser/_details/{bucket}/{key}",
}
_CONSOLES["s3a"] = _CONSOLES["s3"]
_CONSOLES["gcs"] = _CONSOLES["gs"]


class AdjustDeliveriesLink(BaseOperatorLink):
    """What this task has delivered by its ledger; without a ledger there is nothing to show."""

    name = "Adjust deliveries"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        ledger = getattr(operator, "ledger_conn_id", None)
        if not ledger:
            return ""
        query = {"ledger": ledger, "dag_id": ti_key.dag_id, "run_id": ti_key.run_id, "task_id": ti_key.task_id}
        if ti_key.map_index >= 0:
            query["map_index"] = ti_key.map_index
        return f"{_path_of_the_ui()}{DELIVERIES_PATH}?{urlencode(query)}"


class AdjustRejectedFileLink(BaseOperatorLink):
    """The file that this try listed its rejects in, where a browser can show it."""

    name = "Rejected file"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        result = getattr(operator, "delivery_result", None) or {}
        return file_url(result.get("rejected_path") or "")


class AdjustDashboardLink(BaseOperatorLink):
    """Adjust's dashboard."""

    name = "Adjust dashboard"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return DASHBOARD_URL


def file_url(path: str) -> str:
    """A file's address for a browser; empty for a local file, and for a storage that has no such address."""
    parts = urlsplit(path)
    if parts.scheme in ("http", "https"):
        return path if "@" not in parts.netloc else ""
    if parts.scheme not in _CONSOLES:
        return ""
    # Airflow's paths may name the connection before the bucket: s3://aws_default@bucket/key.
    bucket = parts.netloc.rpartition("@")[2]
    key = path.partition("://")[2].partition("/")[2]
    return _CONSOLES[parts.scheme].format(bucket=quote(bucket), key=quote(key))


def _path_of_the_ui() -> str:
    """The path under which Airflow's UI is served, empty at the root. A browser knows the host better than a worker."""
    # Not at the top: whoever imports an operator would read Airflow's configuration.
    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
