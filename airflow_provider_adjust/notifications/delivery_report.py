"""The report on one try of a delivery, for people: a subject, a plain text, a Slack message and HTML.

It has counts, revenue, reasons and links. It has no rows, and no message of an exception that is not this provider's:
both may hold device ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from airflow_provider_adjust.s2s import errors
from airflow_provider_adjust.s2s.account.tables import plain_table
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES, SETTLED_BEFORE
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

_OURS = frozenset(name for name, value in vars(errors).items() if isinstance(value, type))


@dataclass(frozen=True)
class DeliveryReport:
    """One ended try of a task, or the missed deadline of a DAG run, which has no numbers.

    ``result`` is the task's result, which a failed try has too; None if the try ended before it counted anything.
    ``failure`` is the reason of a failure in one line, else empty. ``deadline`` is the missed deadline, else empty.
    """

    task: str
    run_id: str
    try_number: int | None = None
    log_url: str = ""
    result: Mapping[str, Any] | None = None
    failure: str = ""
    deadline: str = ""

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> DeliveryReport:
        """Build the report from the context that Airflow gives to a callback.

        :raises AdjustConfigurationError: the context is neither that of a task nor that of a deadline alert.
        """
        if "ti" not in context:
            return cls._from_missed_deadline(context)
        ti = context["ti"]
        mapped = f" [{ti.map_index}]" if getattr(ti, "map_index", -1) >= 0 else ""
        exception = context.get("exception")
        result = getattr(context.get("task"), "delivery_result", None)
        return cls(
            task=f"{ti.dag_id}.{ti.task_id}{mapped}",
            run_id=ti.run_id,
            try_number=ti.try_number,
            log_url=ti.log_url,
            result=result,
            failure=_one_line(exception) if exception else _failure_by_state(ti, has_result=result is not None),
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
        return f"Adjust: {self.task} {'failed' if self.failure else 'succeeded'}, {self._share()}"

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
            return "before anything was counted"
        new, delivered = self.result["read"] - self._known, self.result["delivered"]
        if self._known and not new:
            return f"nothing new, {self._known:,} events were settled by earlier runs"
        revenue = _money(self.result["revenue"])
        return f"{delivered:,} of {new:,} events delivered" + (f" ({revenue})" if revenue else "")

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
        counts: list[tuple[str, ...]] = [("read", f"{result['read']:,}", "")]
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


def _one_line(exception: BaseException | str) -> str:
    """The first line of this provider's errors, which hold no personal data; of any other exception its kind only.

    An operator raises its final errors as Airflow's exception without a retry, with the kind before the message.
    """
    message = str(exception).partition("\n")[0]
    kind = type(exception).__name__
    if kind in _OURS:
        return f"{kind}: {message}"
    if message.partition(":")[0] in _OURS:
        return message
    return f"{kind}; see the log"


def _failure_by_state(ti: Any, *, has_result: bool) -> str:
    """The failure by the state of the task, for callbacks without the exception; empty for a success.

    Airflow gives none for a try that was killed, and Airflow 3.1's ``dag.test()`` gives none at all.
    """
    state = getattr(ti, "state", None)
    if state == "success" or (state is None and has_result):
        return ""
    if state in ("failed", "up_for_retry") and has_result:
        return "The task failed; see the log"
    return "The try ended without a word: it was killed, or lost its worker. What it had sent is in the ledger or checkpoint"


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
