"""The report on one try of a delivery, for people: a subject, a plain text, a Slack message and HTML.

It has counts, revenue, reasons and links. It has no rows, and no message of an exception that is not this provider's:
both may hold device ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from airflow_provider_adjust.notifications.ending import KILLED, SUCCEEDED, how_it_ended
from airflow_provider_adjust.notifications.killed_try import result_in_ledger
from airflow_provider_adjust.s2s.account.tables import plain_table
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES, SETTLED_BEFORE
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


@dataclass(frozen=True)
class DeliveryReport:
    """One ended try of a task, or the missed deadline of a DAG run, which has no numbers.

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
    def subject(self) -> str:
        """The result in one line."""
        if self.deadline:
            return f"Adjust: {self.task} has not ended by its deadline, {self.deadline}"
        return f"Adjust: {self.task} {self.ended}, {self._share()}"

    @property
    def text(self) -> str:
        """The whole report as plain text."""
        parts = [f"{self.subject}\n{self._where()}"]
        if self.failure:
            parts.append(self.failure)
        parts += (plain_table(head, rows, right=("events",)) for head, rows in self._tables())
        parts.append("\n".join(f"{name}: {value}" for name, value in self._links()))
        return "\n\n".join(filter(None, parts))

    @property
    def slack(self) -> str:
        """The whole report in Slack's markup."""
        parts = [f"*{_for_slack(self.subject)}*\n{_for_slack(self._where())}"]
        if self.failure:
            parts.append(f"> {_for_slack(self.failure)}")
        for head, rows in self._tables():
            parts.append(f"```{_for_slack(plain_table(head, rows, right=('events',)))}```")
        parts.append("\n".join(f"{name}: {_for_slack(value)}" for name, value in self._links()))
        return "\n".join(filter(None, parts))

    @property
    def html(self) -> str:
        """The whole report as HTML for an e-mail."""
        parts = [f"<h3>{escape(self.subject)}</h3><p>{escape(self._where())}</p>"]
        if self.failure:
            parts.append(f"<p><strong>{escape(self.failure)}</strong></p>")
        parts += (_html_table(head, rows) for head, rows in self._tables())
        for name, value in self._links():
            shown = f'<a href="{escape(value)}">{escape(value)}</a>' if value.startswith("http") else escape(value)
            parts.append(f"<p>{name}: {shown}</p>")
        return "\n".join(parts)

    def _share(self) -> str:
        if self.result is None:
            return "what it had delivered is not known" if self.ended == KILLED else "before anything was counted"
        new, delivered = self.result["read"] - self._known, self.result["delivered"]
        if self.result["by_reason"].get("dry_run"):
            return f"a dry run, which would have sent {self.result['by_reason']['dry_run']:,} of {new:,} events"
        if self._known and not new and self.ended != KILLED:
            return f"nothing new, {self._known:,} events were settled by earlier runs"
        revenue = _money(self.result["revenue"])
        share = f"{delivered:,}" if self.ended == KILLED else f"{delivered:,} of {new:,}"
        before = " before that" if self.ended == KILLED else ""
        return f"{share} events delivered{before}" + (f" ({revenue})" if revenue else "")

    @property
    def _known(self) -> int:
        """Events that earlier runs have settled: they are not news."""
        by_reason = self.result["by_reason"] if self.result else {}
        return sum(by_reason.get(reason, 0) for reason in SETTLED_BEFORE)

    def _where(self) -> str:
        return f"Run {self.run_id}" + (f", try {self.try_number}" if self.try_number else "")

    def _tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        if self.result is None:
            return []
        result = self.result
        counts: list[tuple[str, ...]] = [("counted" if self.ended == KILLED else "read", f"{result['read']:,}", "")]
        for outcome in FINAL_OUTCOMES:
            if count := result[outcome.value]:
                note = _money(result["revenue"]) if outcome.value == "delivered" else ""
                if outcome.value == "skipped" and self._known:
                    note = f"{self._known:,} settled by earlier runs"
                counts.append((outcome.value, f"{count:,}", note))
        tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = [(("outcome", "events", "revenue"), counts)]
        reasons: list[tuple[str, ...]] = [
            (name, f"{count:,}") for name, count in result["by_reason"].items() if name not in SETTLED_BEFORE
        ]
        if reasons:
            tables.append((("reason", "events"), reasons))
        return tables

    def _links(self) -> list[tuple[str, str]]:
        links = [("Log", self.log_url)] if self.log_url else []
        if self.result and self.result["rejected_path"]:
            links.append(("Not delivered", self.result["rejected_path"]))
        return links


def _money(revenue: Mapping[str, str]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in revenue.items())


def _for_slack(text: str) -> str:
    # The characters that Slack wants escaped: https://docs.slack.dev/messaging/formatting-message-text
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        sides = ("right" if name == "events" else "left" for name in head)
        inside = "".join(
            f'<{tag} align="{side}">{escape(text)}</{tag}>' for text, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{inside}</tr>"

    body = "\n".join([line(head, "th"), *(line(row, "td") for row in rows)])
    return f'<table border="1" cellpadding="4" cellspacing="0">\n{body}\n</table>'
