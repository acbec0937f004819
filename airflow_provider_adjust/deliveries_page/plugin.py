"""The Airflow plugin: the page's mount point, its menu entry and its tabs.

Workers, schedulers and API servers all load this file at their start, so it imports as little as possible.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_adjust.deliveries_page.configuration import PREFIX, ledger_conn_ids


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Serve the page, each answer with the page's headers."""
    from airflow_provider_adjust.deliveries_page.headers import with_headers

    await with_headers(_views, scope, receive, send)


async def _views(scope: Any, receive: Any, send: Any) -> None:
    """The first request imports the views, so a defect in them cannot keep Airflow from starting."""
    from airflow_provider_adjust.deliveries_page.app import app

    await app(scope, receive, send)


def external_views() -> list[dict[str, str]]:
    """The menu entry, and with a configured ledger a tab of each DAG and run.

    The addresses are relative, since Airflow may be served below a path. DAG and run are parts of the path and not of a
    query: Airflow 3.1 inserts them unquoted, and the ``+`` in a run's id would be read as a space there.
    """
    base = PREFIX.removeprefix("/")
    menu = {
        "name": "Adjust deliveries",
        "destination": "nav",
        "category": "browse",
        "url_route": "adjust-deliveries",
        "href": f"{base}/",
    }
    if not ledger_conn_ids():
        return [menu]
    tabs = {"dag": f"{base}/dags/{{DAG_ID}}", "dag_run": f"{base}/dags/{{DAG_ID}}/runs/{{RUN_ID}}"}
    return [
        menu,
        *(
            {
                "name": "Adjust deliveries",
                "destination": destination,
                "url_route": f"adjust-deliveries-of-{destination.replace('_', '-')}",
                "href": href,
            }
            for destination, href in tabs.items()
        ),
    ]


class AdjustDeliveriesPlugin(AirflowPlugin):
    """The page "Adjust deliveries". Airflow finds it by the entry point ``airflow.plugins``."""

    name = "adjust_deliveries"
    fastapi_apps = [{"name": "Adjust deliveries", "app": page, "url_prefix": PREFIX}]  # noqa: RUF012 - Airflow's own form
    external_views = external_views()
