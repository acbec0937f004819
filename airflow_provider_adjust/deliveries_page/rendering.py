"""HTML from the results of the queries. The templates escape every value; none is marked as safe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from airflow_provider_adjust.deliveries_page.configuration import PREFIX, ledger_conn_ids
from airflow_provider_adjust.deliveries_page.filters import MAX_DAYS, Filters
from airflow_provider_adjust.deliveries_page.queries import MOST_COUNTED
from airflow_provider_adjust.deliveries_page.resend import name_below_folder
from airflow_provider_adjust.links.adjust_links import file_url
from airflow_provider_adjust.s2s.account.amounts import from_database, shown

#: The statuses of the ledger, and their labels on the page.
STATUSES = {
    "delivered": "Delivered",
    "duplicate": "Duplicate",
    "rejected": "Rejected",
    "invalid": "Invalid",
    "expired": "Expired",
    "in_doubt": "In doubt",
    "sending": "Being sent",
    "held": "Held",
}
#: The labels of a night's verdict.
VERDICTS = {
    "arrived": "Arrived",
    "partly": "Partly arrived",
    "nothing": "Nothing came",
    "failed": "Failed",
    "killed": "Killed",
    "running": "Still running",
}
#: The labels of a try's state.
STATES = {"success": "Succeeded", "failed": "Failed", "running": "Running", "lost": "Killed", "ended": "Ended"}
#: Statuses with single events in the ledger.
LISTED = ("delivered", "duplicate", "rejected", "in_doubt", "sending")
_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
_templates.env.trim_blocks = _templates.env.lstrip_blocks = True


def render(request: Request, template: str, filters: Filters, *, status: int = 200, **found: Any) -> Response:
    """Render a page."""
    root = root_of(request)

    def address(view: str = "", **changes: Any) -> str:
        """The address of a view with the current filters and some changes."""
        return f"{root}/{view}?{urlencode(filters.query(**changes))}"

    context = {
        "root": root,
        "airflow": root.removesuffix(PREFIX),
        "filters": filters,
        "address": address,
        "ledgers": ledger_conn_ids(),
        "statuses": STATUSES,
        "listed": LISTED,
        "verdicts": VERDICTS,
        "states": STATES,
        "max_days": MAX_DAYS,
        "most_counted": MOST_COUNTED,
        "mistakes": {},
        "own_fields": (),
        "chosen": [name for name, value in filters if value is not None],
    }
    return _templates.TemplateResponse(request, template, context | found, status_code=status)


def root_of(request: Request) -> str:
    """The path at which the page is mounted. In a request below ``/static``, that mount is part of it and is cut off."""
    root: str = request.scope["root_path"]
    return root.removesuffix("/static")


def number(value: int) -> str:
    """A whole number with thousands separators."""
    return f"{value:,}"


def money(value: Decimal) -> str:
    """An amount with two decimals, or with more if it has them."""
    return shown(from_database(value))


def amounts(by_currency: Mapping[str, Decimal]) -> list[str]:
    """Amounts with their currencies, the largest first."""
    return [
        f"{money(amount)} {code}" for code, amount in sorted(by_currency.items(), key=lambda each: (-each[1], each[0]))
    ]


def moment(value: datetime) -> str:
    """A time to the second."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


def short_moment(value: datetime) -> str:
    """A time to the minute, as people say it."""
    return f"{value.day} {value:%b %H:%M}"


def short_day(value: date) -> str:
    """A day with its name."""
    return f"{value:%a} {value.day} {value:%b %Y}"


def spell(value: timedelta) -> str:
    """How long something took."""
    seconds = int(value.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def within(value: datetime, now: datetime) -> str:
    """The time until a moment."""
    minutes = int((value - now).total_seconds() // 60)
    if minutes < 0:
        return "due"
    if minutes < 120:
        return f"in {minutes} min"
    return f"in {minutes // 60} h" if minutes < 48 * 60 else f"in {minutes // (24 * 60)} days"


def name_with_token(token: str, name: str) -> str:
    """The name of an event or an app for people, with its token."""
    return f"{name} ({token})" if name else token


def ago(value: datetime, now: datetime) -> str:
    """How long ago a time is, in the largest unit that fits."""
    minutes = max(0, int((now - value).total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"


def run_path(run: Any) -> str:
    """The path of the task instance in Airflow's UI."""
    dag_id, run_id, task_id = (quote(part, safe="") for part in (run.dag_id, run.run_id, run.task_id))
    mapped = f"/mapped/{run.map_index}" if run.map_index >= 0 else ""
    return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}"


_templates.env.filters |= {
    each.__name__: each
    for each in (
        *(number, money, amounts, moment, short_moment, short_day, spell, within, ago, run_path),
        *(name_with_token, name_below_folder, file_url),
    )
}
