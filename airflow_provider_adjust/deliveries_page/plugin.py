"""What Airflow loads of the page when it starts: the places in its UI from which the page is reached.

Workers, schedulers and API servers all load this, so it imports nothing but what it must.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_adjust.deliveries_page.configuration import ledger_conn_ids

#: Where Airflow's API server serves the page.
PREFIX = "/adjust"


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Serve the page; it is imported when it is first asked for, so that it cannot keep Airflow from starting."""
    from airflow_provider_adjust.deliveries_page.app import app

    await app(scope, receive, send)


def external_views() -> list[dict[str, str]]:
    """The entry in the menu, and a tab of each DAG and run where there is a ledger to look into.

    The addresses are relative, since Airflow may be served below a path. The names are parts of the path: Airflow 3.1 puts
    them in as they are, and the ``+`` of a run's id would be a space in a query.
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
    fastapi_apps = [{"name": "Adjust deliveries", "app": page, "url_prefix": PREFIX}]  # noqa: RUF012 - as Airflow has it
    external_views = external_views()
