"""The report on a delivery, or on all deliveries of a day, as plain text, Slack markup and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from html import escape
from typing import Protocol

from airflow_provider_adjust.s2s.account.amounts import plain, shown
from airflow_provider_adjust.s2s.account.tables import plain_table

#: A header and the lines.
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

_COLOURS = {"OK": "#1a7f37", "INCOMPLETE": "#9a6700"} | dict.fromkeys(
    ("FAILED", "KILLED", "LATE", "MISSING"), "#b42318"
)
#: Columns of counts.
_RIGHT = ("events", "missing")
_OTHER_COLOUR = "#1f2328"
#: Mail programs read styles only from the element itself. URLs are longer than a phone's screen is wide.
_BODY = "font-family:sans-serif;font-size:14px;line-height:1.4;max-width:640px;overflow-wrap:anywhere"
_CELL = "padding:2px 12px 2px 0;border-bottom:1px solid #d0d7de"


class Report(Protocol):
    """The parts of a message."""

    @property
    def verdict(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def failure(self) -> str: ...
    def where(self) -> str: ...
    def table(self) -> Table | None: ...
    def advice(self) -> list[tuple[str, str]]: ...
    def links(self) -> list[tuple[str, str]]: ...


def total(amounts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The sum by currency of amounts in decimal text."""
    sums: dict[str, Decimal] = {}
    for each in amounts:
        for currency, amount in each.items():
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    return {currency: plain(amount) for currency, amount in sums.items()}


def money(revenue: Mapping[str, str]) -> str:
    """Amounts with thousands separators and currencies, such as ``1,250.00 USD``."""
    return ", ".join(f"{shown(Decimal(amount))} {currency}" for currency, amount in sorted(revenue.items()))


def text(report: Report) -> str:
    """The report as plain text."""
    parts = [f"{report.subject}\n{report.where()}", report.failure]
    if table := report.table():
        parts.append(plain_table(*table, right=_RIGHT))
    parts.append("\n".join(f"{count}\n  {advice}" for count, advice in report.advice()))
    parts.append("\n".join(f"{name}: {value}" for name, value in report.links()))
    return "\n\n".join(filter(None, parts))


def slack(report: Report) -> str:
    """The report in Slack's markup."""
    parts = [f"*{_for_slack(report.subject)}*\n{_for_slack(report.where())}"]
    if report.failure:
        parts.append(f"> {_for_slack(report.failure)}")
    if table := report.table():
        parts.append(f"```{_for_slack(plain_table(*table, right=_RIGHT))}```")
    parts += (f"*{_for_slack(count)}*\n{_for_slack(advice)}" for count, advice in report.advice())
    parts.append("\n".join(f"{name}: {_for_slack(value)}" for name, value in report.links()))
    return "\n".join(filter(None, parts))


def html(report: Report) -> str:
    """The report as one HTML element."""
    colour = _COLOURS.get(report.verdict, _OTHER_COLOUR)
    parts = [f'<h3 style="margin:0;color:{colour}">{escape(report.subject)}</h3>', f"<p>{escape(report.where())}</p>"]
    if report.failure:
        parts.append(f"<p><strong>{escape(report.failure)}</strong></p>")
    if table := report.table():
        parts.append(_html_table(table))
    if advice := report.advice():
        lines = "\n".join(f"<li><strong>{escape(count)}</strong><br>{escape(told)}</li>" for count, told in advice)
        parts.append(f"<ul>\n{lines}\n</ul>")
    for name, value in report.links():
        is_address = value.startswith("http")
        shown = f'<a href="{escape(value)}">{name}</a>' if is_address else f"{name}: {escape(value)}"
        parts.append(f"<p>{shown}</p>")
    return f'<div style="{_BODY}">\n' + "\n".join(parts) + "\n</div>"


def _for_slack(text: str) -> str:
    # The characters that must be escaped in Slack: https://docs.slack.dev/messaging/formatting-message-text
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html_table(table: Table) -> str:
    head, rows = table

    def line(cells: tuple[str, ...], tag: str) -> str:
        sides = ("right" if name in _RIGHT else "left" for name in head)
        inside = "".join(
            f'<{tag} align="{side}" style="{_CELL}">{escape(text)}</{tag}>'
            for text, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{inside}</tr>"

    body = "\n".join([line(head, "th"), *(line(row, "td") for row in rows)])
    return f'<table cellspacing="0" style="border-collapse:collapse;font-size:14px">\n{body}\n</table>'
