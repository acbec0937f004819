"""Adjust's Report Service over the events that the sandbox received: `report`, `events` and `filters_data`.

Source: Adjust's "Report Service API" pages. Rows hold text and totals hold numbers, as in Adjust. An empty report is
204. The pages name only the status of an error; its body is this module's choice.
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from airflow_provider_adjust.sandbox import faults
from airflow_provider_adjust.sandbox.core import Sandbox
from airflow_provider_adjust.sandbox.rules import bearer_token
from airflow_provider_adjust.sandbox.state import EVENT

_DIMENSIONS = ("day", "app_token")
#: The endpoints of the metrics that are not one event's.
_METRICS = {
    "events": frozenset({EVENT}),
    "revenue": frozenset({EVENT}),
    "ad_revenue": frozenset({"ad_revenue"}),
    "all_revenue": frozenset({EVENT, "ad_revenue"}),
}
_PERIOD = re.compile(r"(\d{4}-\d\d-\d\d):(\d{4}-\d\d-\d\d)", re.ASCII)
_RELATIVE = re.compile(r"-(\d{1,3})d:-(\d{1,3})d", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_MESSAGES = {429: "Too many requests", 503: "Service unavailable", 504: "Query timed out"}

Answer = tuple[int, object]


class _Malformed(Exception):
    """A request that Adjust answers 400."""


def report_service(page: str, query: Mapping[str, str], authorization: str | None, sandbox: Sandbox) -> Answer:
    """Return the status and JSON body of one of the pages."""
    config = sandbox.config
    if page not in ("report", "events", "filters_data"):
        return 404, {"error": "Not found"}
    if config.api_tokens and bearer_token(authorization) not in config.api_tokens:
        return 401, {"error": "Unauthorized"}
    if page == "events":
        return 200, _events(query, sandbox)
    if page == "filters_data":
        return 200, {"event_metrics": [{"id": f"{event['id']}_events"} for event in _events({}, sandbox)]}
    fault = sandbox.report_faults.next()
    if fault is not None and fault.isdigit():
        return int(fault), {"error": _MESSAGES.get(int(fault), "Injected fault")}
    sandbox.totals.ingest(sandbox.state, config.clock() - config.report_delay)
    try:
        return _report(query, sandbox, fault)
    except _Malformed as error:
        return 400, {"error": str(error)}


def _events(query: Mapping[str, str], sandbox: Sandbox) -> list[dict[str, object]]:
    """The events that are configured or were received. Events that share a name are one entry, as in Adjust."""
    tokens: dict[str, set[str]] = {}
    apps: dict[str, set[str]] = defaultdict(set)
    seen = sandbox.state.known_event_tokens()
    for token in sorted({*(sandbox.config.event_tokens or ()), *sandbox.config.event_slugs, *seen}):
        slug = _slug(token, sandbox)
        if query.get("events__contains", "").lower() in slug.lower():
            tokens.setdefault(slug, set()).add(token)
            apps[slug].update(sandbox.config.app_tokens or (), seen.get(token, ()))
    return [
        {
            "id": slug,
            "name": slug,
            "short_name": slug[:3].upper(),
            "section": "Revenue",
            "formatting": "money",
            "increase_is_negative": False,
            "description": "",
            "app_token": sorted(apps[slug]),
            "tokens": sorted(tokens[slug]),
        }
        for slug in tokens
    ]


def _report(query: Mapping[str, str], sandbox: Sandbox, fault: str | None) -> Answer:
    dimensions = _list(query, "dimensions")
    metrics = _list(query, "metrics")
    if unknown := [name for name in dimensions if name not in _DIMENSIONS]:
        raise _Malformed(f"the sandbox has no dimension {unknown[0]}; it has {', '.join(_DIMENSIONS)}")
    offset = _offset(query.get("utc_offset", "+00:00"))
    first, last = _period(query.get("date_period", ""), sandbox.config.clock() + offset)
    environment = "sandbox" if query.get("sandbox", "false") == "true" else "production"
    apps = set(filter(None, query.get("app_token__in", "").split(",")))
    wanted = {name: _meaning(name, sandbox) for name in metrics}
    rows: dict[tuple[str, ...], dict[str, Decimal]] = {}
    for bucket, total in sandbox.totals.buckets.items():
        day = datetime.datetime.fromtimestamp(bucket.start + offset, datetime.UTC).date()
        if not first <= day <= last or bucket.environment != environment or (apps and bucket.app_token not in apps):
            continue
        names = {"day": day.isoformat(), "app_token": bucket.app_token}
        row = rows.setdefault(tuple(names[name] for name in dimensions), dict.fromkeys(metrics, Decimal(0)))
        for name, (endpoints, tokens, what) in wanted.items():
            if bucket.endpoint in endpoints and (tokens is None or bucket.event_token in tokens):
                row[name] += total.events if what == "events" else total.revenue
    if not rows:
        return 204, None
    factor = {faults.FEWER: Decimal("0.5"), faults.MORE: Decimal(2)}.get(fault or "", Decimal(1))
    shown = {
        key: {name: _shown(name, value, factor) for name, value in row.items()} for key, row in sorted(rows.items())
    }
    return 200, {
        "rows": [
            {
                "attr_dependency": {},
                **dict(zip(dimensions, key, strict=True)),
                **{name: format(value, "f") for name, value in row.items()},
            }
            for key, row in shown.items()
        ],
        "totals": {name: float(sum((row[name] for row in shown.values()), Decimal(0))) for name in metrics},
        "warnings": [],
        "pagination": None,
    }


def _shown(name: str, value: Decimal, factor: Decimal) -> Decimal:
    return Decimal(int(value * factor)) if name.endswith("events") else value * factor


def _meaning(metric: str, sandbox: Sandbox) -> tuple[frozenset[str], frozenset[str] | None, str]:
    """The endpoints and the event tokens of a metric, None for all, and whether it counts events or sums revenue."""
    slug, _, what = metric.rpartition("_")
    if metric in _METRICS:
        return _METRICS[metric], None, "events" if metric == "events" else "revenue"
    for event in _events({}, sandbox):
        if event["id"] == slug and what in ("events", "revenue"):
            return frozenset({EVENT}), frozenset(event["tokens"]), what  # type: ignore[call-overload]
    raise _Malformed(f"unknown metric {metric}")


def _slug(token: str, sandbox: Sandbox) -> str:
    return sandbox.config.event_slugs.get(token, f"event_{token}")


def _list(query: Mapping[str, str], name: str) -> list[str]:
    values = [value for value in query.get(name, "").split(",") if value]
    if not values:
        raise _Malformed(f"{name} is required")
    return values


def _offset(text: str) -> int:
    match = _OFFSET.fullmatch(text)
    if not match:
        raise _Malformed("utc_offset is written +01:00")
    return (int(match[2]) * 3600 + int(match[3]) * 60) * (-1 if match[1] == "-" else 1)


def _period(text: str, now: float) -> tuple[datetime.date, datetime.date]:
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    days = {"today": (0, 0), "yesterday": (1, 1)}.get(text)
    if match := _RELATIVE.fullmatch(text):
        days = (int(match[1]), int(match[2]))
    if days is not None:
        first, last = (today - datetime.timedelta(days=ago) for ago in days)
        return first, last
    match = _PERIOD.fullmatch(text)
    if not match:
        raise _Malformed("the sandbox reads a date_period such as 2026-05-01:2026-05-03, -10d:-3d, today or yesterday")
    try:
        return datetime.date.fromisoformat(match[1]), datetime.date.fromisoformat(match[2])
    except ValueError:
        raise _Malformed("date_period holds a date that does not exist") from None
