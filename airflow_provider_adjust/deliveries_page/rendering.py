"""From what was found to HTML. Everything is escaped by the templates; nothing is marked as safe."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from airflow_provider_adjust.deliveries_page.choice import Filters
from airflow_provider_adjust.deliveries_page.configuration import ledger_conn_ids
from airflow_provider_adjust.deliveries_page.plugin import PREFIX

#: Ends of events, as the ledger has them and as the page says them.
STATUSES = {
    "delivered": "Delivered",
    "duplicate": "Duplicate",
    "rejected": "Rejected",
    "in_doubt": "In doubt",
    "sending": "Being sent",
    "held": "Held",
}
_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
_templates.env.trim_blocks = _templates.env.lstrip_blocks = True


def render(request: Request, template: str, choice: Filters, *, status: int = 200, **found: Any) -> Response:
    """One page, which the browser does not keep: somebody else may sit down at it."""
    root = root_of(request)

    def address(view: str = "", **changes: Any) -> str:
        """A view with what is chosen now, but for the changes."""
        return f"{root}/{view}?{urlencode(choice.query(**changes))}"

    context = {
        "root": root,
        "airflow": root.removesuffix(PREFIX),
        "choice": choice,
        "address": address,
        "ledgers": ledger_conn_ids(),
        "statuses": STATUSES,
    }
    headers = {"Cache-Control": "no-store"}
    return _templates.TemplateResponse(request, template, context | found, status_code=status, headers=headers)


def root_of(request: Request) -> str:
    """Where the page is mounted. Below ``/static``, what is mounted there has been added already."""
    root: str = request.scope["root_path"]
    return root.removesuffix("/static")


def number(value: int) -> str:
    """12,345."""
    return f"{value:,}"


def money(value: Decimal) -> str:
    """At least two decimals, at most four: a sum in SQLite has binary noise behind these."""
    whole, _, decimals = f"{value:,.4f}".partition(".")
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"


def moment(value: datetime) -> str:
    """To the second."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


def run_path(run: Any) -> str:
    """Where Airflow shows the task instance, from its root."""
    dag_id, run_id, task_id = (quote(part, safe="") for part in (run.dag_id, run.run_id, run.task_id))
    mapped = f"/mapped/{run.map_index}" if run.map_index >= 0 else ""
    return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}"


_templates.env.filters |= {"number": number, "money": money, "moment": moment, "run_path": run_path}
