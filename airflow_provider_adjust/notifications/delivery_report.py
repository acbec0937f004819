"""The report on one try of a delivery, for people: a subject, a plain text, a Slack message and HTML.

It has counts, revenue, what is missing by reason with what to do about it, and links. It has no rows, and no message of an
exception that is not this provider's: both may hold device ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

from airflow_provider_adjust.links.adjust_links import deliveries_path
from airflow_provider_adjust.notifications.ending import FAILED, KILLED, SKIPPED, SUCCEEDED, how_it_ended
from airflow_provider_adjust.notifications.killed_try import ledger_of, result_in_ledger
from airflow_provider_adjust.s2s.account.tables import plain_table
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES, SETTLED_BEFORE
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

_VERDICTS = {FAILED: "FAILED", KILLED: "KILLED", SKIPPED: "SKIPPED"}
_COLOURS = {"OK": "#1a7f37", "INCOMPLETE": "#9a6700", "FAILED": "#b42318", "KILLED": "#b42318", "LATE": "#b42318"}
_Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True)
class DeliveryReport:
    """One ended try of a task, or the missed deadline of a DAG run, which has no numbers.

    ``verdict`` is the one word that the subject begins with: OK, INCOMPLETE (the task succeeded, and events are missing),
    FAILED, KILLED, SKIPPED, DRY RUN or LATE (a missed deadline).

    ``result`` is the task's result, which a failed try has too; None if the try ended before it counted anything. Of a
    try that was killed it is what the ledger has. ``ended`` is how it ended, ``failure`` why in one line, empty for a
    success. ``deadline`` is the missed deadline, else empty.
    """

    task: str
    run_id: str
    try_number: int | None = None
    log_url: str = ""
    result: Mapping[str, Any] | None = None
    failure: str = ""
    deadline: str = ""
    ended: str = SUCCEEDED
    #: The deliveries page on this task instance; empty without a ledger.
    page_url: str = ""

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> DeliveryReport:
        """Build the report from the context that Airflow gives to a callback.

        :raises AdjustConfigurationError: the context is neither that of a task nor that of a deadline alert.
        """
        if "ti" not in context:
            return cls._from_missed_deadline(context)
        ti = context["ti"]
        mapped = f" [{ti.map_index}]" if getattr(ti, "map_index", -1) >= 0 else ""
        result = getattr(context.get("task"), "delivery_result", None)
        ended, failure = how_it_ended(context, result)
        return cls(
            task=f"{ti.dag_id}.{ti.task_id}{mapped}",
            run_id=ti.run_id,
            try_number=ti.try_number,
            log_url=ti.log_url,
            result=result_in_ledger(context) if ended == KILLED else result,
            failure=failure,
            ended=ended,
            page_url=_page_url(context),
        )

    @classmethod
    def _from_missed_deadline(cls, context: Mapping[str, Any]) -> DeliveryReport:
        run, deadline = context.get("dag_run"), context.get("deadline")
        if not isinstance(run, Mapping) or not isinstance(deadline, Mapping):
            raise AdjustConfigurationError(
                "the callback has neither a task nor a deadline; set the notifier on a task that sends, or give it to a "
                "deadline alert"
            )
        return cls(task=run["dag_id"], run_id=run["dag_run_id"], deadline=str(deadline["deadline_time"]))

    @property
    def verdict(self) -> str:
        """The end in one word."""
        if self.deadline:
            return "LATE"
        if self.ended in _VERDICTS:
            return _VERDICTS[self.ended]
        if self._would_have_sent:
            return "DRY RUN"
        return "INCOMPLETE" if self._missing else "OK"

    @property
    def subject(self) -> str:
        """The result in one line, the verdict first: a phone shows the first words only."""
        return f"[Adjust] {self.verdict}: {self._share()} ({self.task})"

    @property
    def text(self) -> str:
        """The whole report as plain text."""
        parts = [f"{self.subject}\n{self._where()}", self.failure]
        if table := self._table():
            parts.append(plain_table(*table, right=("events",)))
        parts.append("\n".join(f"{count}\n  {advice}" for count, advice in self._advice()))
        parts.append("\n".join(f"{name}: {value}" for name, value in self._links()))
        return "\n\n".join(filter(None, parts))

    @property
    def slack(self) -> str:
        """The whole report in Slack's markup."""
        parts = [f"*{_for_slack(self.subject)}*\n{_for_slack(self._where())}"]
        if self.failure:
            parts.append(f"> {_for_slack(self.failure)}")
        if table := self._table():
            parts.append(f"```{_for_slack(plain_table(*table, right=('events',)))}```")
        parts += (f"*{_for_slack(count)}*\n{_for_slack(advice)}" for count, advice in self._advice())
        parts.append("\n".join(f"{name}: {_for_slack(value)}" for name, value in self._links()))
        return "\n".join(filter(None, parts))

    @property
    def html(self) -> str:
        """The whole report as HTML for an e-mail, with its style inline, as mail programs want it."""
        colour = _COLOURS.get(self.verdict, "#1f2328")
        parts = [f'<h3 style="margin:0;color:{colour}">{escape(self.subject)}</h3>', f"<p>{escape(self._where())}</p>"]
        if self.failure:
            parts.append(f"<p><strong>{escape(self.failure)}</strong></p>")
        if table := self._table():
            parts.append(_html_table(*table))
        if advice := self._advice():
            lines = "\n".join(f"<li><strong>{escape(count)}</strong><br>{escape(text)}</li>" for count, text in advice)
            parts.append(f"<ul>\n{lines}\n</ul>")
        for name, value in self._links():
            # An address is longer than a phone is wide.
            is_address = value.startswith("http")
            shown = f'<a href="{escape(value)}">{name}</a>' if is_address else f"{name}: {escape(value)}"
            parts.append(f"<p>{shown}</p>")
        style = "font-family:sans-serif;font-size:14px;line-height:1.4;max-width:640px;overflow-wrap:anywhere"
        return f'<div style="{style}">\n' + "\n".join(parts) + "\n</div>"

    @property
    def _missing(self) -> list[Mapping[str, Any]]:
        """What was not delivered, by reason."""
        return self.result["not_delivered"] if self.result else []

    @property
    def _would_have_sent(self) -> int:
        return self.result["by_reason"].get("dry_run", 0) if self.result else 0

    def _share(self) -> str:
        if self.deadline:
            return f"the run has not ended by its deadline, {self.deadline}"
        if self.result is None:
            return "what it had delivered is not known" if self.ended == KILLED else "nothing was counted"
        new, delivered = self.result["read"] - self._known, self.result["delivered"]
        if self._would_have_sent:
            return f"would have sent {self._would_have_sent:,} of {new:,} events"
        revenue = _money(self.result["revenue"])
        amount = f", {revenue}" if revenue else ""
        if self.ended == KILLED:
            return f"{delivered:,} events delivered before that{amount}"
        if self._missing:
            events = sum(each["events"] for each in self._missing)
            total = _money(_total(each["revenue"] for each in self._missing))
            return f"{events:,} of {new:,} events not delivered" + (f", {total} missing" if total else "")
        if self.ended == FAILED:
            return f"stopped after {self.result['read']:,} rows, {delivered:,} events delivered{amount}"
        if self._known and not new:
            return f"nothing new, {self._known:,} events were settled by earlier runs"
        return f"{delivered:,} of {new:,} events delivered{amount}"

    @property
    def _known(self) -> int:
        """Events that earlier runs have settled: they are not news."""
        by_reason = self.result["by_reason"] if self.result else {}
        return sum(by_reason.get(reason, 0) for reason in SETTLED_BEFORE)

    def _where(self) -> str:
        return f"Run {self.run_id}" + (f", try {self.try_number}" if self.try_number else "")

    def _table(self) -> _Table | None:
        if self.result is None:
            return None
        result = self.result
        counts: list[tuple[str, ...]] = [("counted" if self.ended == KILLED else "read", f"{result['read']:,}", "")]
        for outcome in FINAL_OUTCOMES:
            if count := result[outcome.value]:
                note = _money(result["revenue"]) if outcome.value == "delivered" else ""
                if outcome.value == "skipped" and self._known:
                    note = f"{self._known:,} settled by earlier runs"
                counts.append((outcome.value, f"{count:,}", note))
        return ("outcome", "events", "revenue"), counts

    def _advice(self) -> list[tuple[str, str]]:
        """For each reason the events and the revenue that are missing, and what to do; the largest revenue first."""
        advice = []
        for each in self._missing:
            amount = _money(each["revenue"])
            count = f"{each['events']:,} {each['outcome']}: {each['reason']}" + (f", {amount}" if amount else "")
            told = reason_of(each["reason"]).advice
            advice.append((count, told[0].upper() + told[1:]))
        return advice

    def _links(self) -> list[tuple[str, str]]:
        links = [("Log", self.log_url), ("Adjust deliveries", self.page_url)]
        if self.result:
            links.append(("Rejected file", self.result["rejected_path"]))
        return [(name, value) for name, value in links if value]


def _page_url(context: Mapping[str, Any]) -> str:
    ti = context["ti"]
    # The log's address is below Airflow's own, which its configuration has on the server's side only.
    base, is_below, _ = ti.log_url.partition("/dags/")
    ledger = ledger_of(context)
    if not ledger or not is_below:
        return ""
    return f"{base}{deliveries_path(ledger, ti.dag_id, ti.run_id, ti.task_id, getattr(ti, 'map_index', -1))}"


def _total(amounts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    total: dict[str, Decimal] = {}
    for each in amounts:
        for currency, amount in each.items():
            total[currency] = total.get(currency, Decimal(0)) + Decimal(amount)
    return {currency: format(amount, "f") for currency, amount in total.items()}


def _money(revenue: Mapping[str, str]) -> str:
    return ", ".join(f"{Decimal(amount):,f} {currency}" for currency, amount in sorted(revenue.items()))


def _for_slack(text: str) -> str:
    # The characters that Slack wants escaped: https://docs.slack.dev/messaging/formatting-message-text
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        sides = ("right" if name == "events" else "left" for name in head)
        style = "padding:2px 12px 2px 0;border-bottom:1px solid #d0d7de"
        inside = "".join(
            f'<{tag} align="{side}" style="{style}">{escape(text)}</{tag}>'
            for text, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{inside}</tr>"

    body = "\n".join([line(head, "th"), *(line(row, "td") for row in rows)])
    return f'<table cellspacing="0" style="border-collapse:collapse;font-size:14px">\n{body}\n</table>'
