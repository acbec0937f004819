"""The report on one try of a delivery, for people: a subject, a plain text, a Slack message and HTML.

It contains counts, revenue, missing events by reason with what to do, and links. It contains no rows, and no message of
another library's exception: both may contain device ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_adjust.links.adjust_links import deliveries_path
from airflow_provider_adjust.notifications import formats
from airflow_provider_adjust.notifications.ending import FAILED, KILLED, SKIPPED, SUCCEEDED, how_it_ended
from airflow_provider_adjust.notifications.killed_try import ledger_of, result_in_ledger
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES, SETTLED_BEFORE
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.rehearsals import PRODUCTION

_VERDICTS = {FAILED: "FAILED", KILLED: "KILLED", SKIPPED: "SKIPPED"}


@dataclass(frozen=True)
class DeliveryReport:
    """One ended try of a task, or the missed deadline of a DAG run, which has no numbers.

    - ``verdict``: the word with which the subject begins. OK, INCOMPLETE (the task succeeded, and events are missing), FAILED,
      KILLED, SKIPPED, DRY RUN or LATE (a missed deadline).
    - ``result``: the task's result, also of a failed try; of a killed try, what the ledger has. None if nothing was counted.
    - ``ended``: how the try ended. ``failure``: why it failed, in one line; empty for a success.
    - ``deadline``: the missed deadline, else empty.
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
        """The result in one word."""
        if self.deadline:
            return "LATE"
        if self.ended in _VERDICTS:
            return _VERDICTS[self.ended]
        if self._would_have_sent:
            return "DRY RUN"
        return "INCOMPLETE" if self._missing else "OK"

    @property
    def subject(self) -> str:
        """The result in one line, verdict first, since a phone shows only the first words."""
        return f"[Adjust] {self.verdict}{self._kind()}: {self._share()} ({self.task})"

    @property
    def text(self) -> str:
        """The whole report as plain text."""
        return formats.text(self)

    @property
    def slack(self) -> str:
        """The whole report in Slack's markup."""
        return formats.slack(self)

    @property
    def html(self) -> str:
        """The whole report as HTML for an e-mail."""
        return formats.html(self)

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
        revenue = formats.money(self.result["revenue"])
        amount = f", {revenue}" if revenue else ""
        if self.ended == KILLED:
            return f"{delivered:,} events delivered before that{amount}"
        if self._missing:
            events = sum(each["events"] for each in self._missing)
            total = formats.money(formats.total(each["revenue"] for each in self._missing))
            return f"{events:,} of {new:,} events not delivered" + (f", {total} missing" if total else "")
        if self.ended == FAILED:
            return f"stopped after {self.result['read']:,} rows, {delivered:,} events delivered{amount}"
        if self._known and not new:
            return f"nothing new, {self._known:,} events were settled by earlier runs"
        return f"{delivered:,} of {new:,} events delivered{amount}"

    @property
    def _known(self) -> int:
        """Events that earlier runs settled, which are not news."""
        by_reason = self.result["by_reason"] if self.result else {}
        return sum(by_reason.get(reason, 0) for reason in SETTLED_BEFORE)

    def _kind(self) -> str:
        """The environment in brackets where it is not production: whoever reads the amount must not take it for revenue."""
        environment = (self.result or {}).get("environment") or PRODUCTION
        return "" if environment == PRODUCTION else f" ({environment.replace(',', ', ')})"

    def where(self) -> str:
        """The run and the try."""
        return f"Run {self.run_id}" + (f", try {self.try_number}" if self.try_number else "")

    def table(self) -> formats.Table | None:
        """Events and delivered revenue by outcome; None if nothing was counted."""
        if self.result is None:
            return None
        result = self.result
        counts: list[tuple[str, ...]] = [("counted" if self.ended == KILLED else "read", f"{result['read']:,}", "")]
        for outcome in FINAL_OUTCOMES:
            if count := result[outcome.value]:
                note = formats.money(result["revenue"]) if outcome.value == "delivered" else ""
                if outcome.value == "skipped" and self._known:
                    note = f"{self._known:,} settled by earlier runs"
                counts.append((outcome.value, f"{count:,}", note))
        return ("outcome", "events", "revenue"), counts

    def advice(self) -> list[tuple[str, str]]:
        """Missing events and revenue by reason, with what to do; the largest revenue first."""
        advice = []
        for each in self._missing:
            amount = formats.money(each["revenue"])
            count = f"{each['events']:,} {each['outcome']}: {each['reason']}" + (f", {amount}" if amount else "")
            told = reason_of(each["reason"]).advice
            advice.append((count, told[0].upper() + told[1:]))
        return advice

    def links(self) -> list[tuple[str, str]]:
        """The available links, by name."""
        links = [("Log", self.log_url), ("Adjust deliveries", self.page_url)]
        if self.result:
            links.append(("Rejected file", self.result["rejected_path"]))
        return [(name, value) for name, value in links if value]


def _page_url(context: Mapping[str, Any]) -> str:
    ti = context["ti"]
    # The log's URL is below Airflow's base URL, which only the server's configuration has.
    base, is_below, _ = ti.log_url.partition("/dags/")
    ledger = ledger_of(context)
    if not ledger or not is_below:
        return ""
    return f"{base}{deliveries_path(ledger, ti.dag_id, ti.run_id, ti.task_id, getattr(ti, 'map_index', -1))}"
