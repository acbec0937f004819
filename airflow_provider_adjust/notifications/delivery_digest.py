"""The digest of several DAGs' deliveries, for people: one line for each DAG and environment, the worst first.

It looks like the report on one delivery. Like that, it has no rows, no device ids and no tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.notifications import formats
from airflow_provider_adjust.notifications.digest_ledger import Counts, DagCounts, Key, missing_of, worst
from airflow_provider_adjust.s2s.account.tables import money
from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.ledger.tries import FAILED, LOST, RUNNING

#: The worst first.
VERDICTS = ("MISSING", "FAILED", "KILLED", "INCOMPLETE", "RUNNING", "OK")
_BY_STATE = {FAILED: "FAILED", LOST: "KILLED", RUNNING: "RUNNING"}
#: Reasons of one line about which it is said what to do.
_MOST_REASONS = 3
_NOT_RUN = "No try began in the window. See whether the DAG is paused, waits for its data, or failed before it sent"
_HEAD = ("verdict", "dag", "environment", "events", "revenue", "missing", "missing revenue")


@dataclass(frozen=True)
class DigestLine:
    """One DAG in one environment; ``environment`` is empty where no row of the DAG names one."""

    verdict: str
    dag_id: str
    environment: str = ""
    delivered: int = 0
    revenue: dict[str, Decimal] = field(default_factory=dict)
    #: Events and revenue that Adjust does not have, by outcome and reason, the largest revenue first.
    missing: dict[tuple[str, str], tuple[int, dict[str, Decimal]]] = field(default_factory=dict)
    error: str = ""

    @property
    def missing_events(self) -> int:
        return sum(count for count, _ in self.missing.values())

    @property
    def missing_revenue(self) -> dict[str, Decimal]:
        return _sum(amounts for _, amounts in self.missing.values())

    @property
    def name(self) -> str:
        return f"{self.dag_id} ({self.environment})" if self.environment else self.dag_id


@dataclass(frozen=True)
class DeliveryDigest:
    """The digest of a window: ``lines``, and the texts that the templates of the operator use."""

    start: datetime
    end: datetime
    lines: Sequence[DigestLine]
    page_url: str = ""
    log_url: str = ""
    failure: str = ""

    @classmethod
    def of(
        cls, start: datetime, end: datetime, dags: Iterable[DagCounts], missing: Iterable[str], **links: str
    ) -> DeliveryDigest:
        """Put what the ledger has into lines.

        :param missing: the DAGs that were expected and have no try in the window.
        """
        lines = [DigestLine("MISSING", dag_id) for dag_id in missing]
        for dag in dags:
            lines += _lines(dag)
        lines.sort(key=_weight)
        return cls(start, end, lines, **links)

    @property
    def verdict(self) -> str:
        """The worst of the lines."""
        return self.lines[0].verdict if self.lines else "OK"

    @property
    def subject(self) -> str:
        """The result in one line, the verdicts first. Sandbox and production are not added up."""
        worst_of: dict[str, str] = {}
        for line in self.lines:
            worst_of.setdefault(line.dag_id, line.verdict)
        if not worst_of:
            return "[Adjust] OK: no DAG was expected to send, and none did"
        how_many = f"{len(worst_of):,} {'DAG' if len(worst_of) == 1 else 'DAGs'}"
        counts = Counter(worst_of.values())
        if set(counts) == {"OK"}:
            delivered = self._by_environment("delivered", "revenue") or "0 events delivered"
            return f"[Adjust] OK: {how_many}, {delivered}"
        told = [f"{counts[verdict]:,} {verdict}" for verdict in VERDICTS[:-1] if counts[verdict]]
        told[0] = told[0].replace(" ", f" of {how_many} ", 1)
        return _with(f"[Adjust] {', '.join(told)}", self._by_environment("missing_events", "missing_revenue"))

    @property
    def text(self) -> str:
        """The whole digest as plain text."""
        return formats.text(self)

    @property
    def slack(self) -> str:
        """The whole digest in Slack's markup."""
        return formats.slack(self)

    @property
    def html(self) -> str:
        """The whole digest as HTML for an e-mail."""
        return formats.html(self)

    def where(self) -> str:
        """The window."""
        return f"Tries that began from {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"

    def table(self) -> formats.Table | None:
        """One row for each line."""
        if not self.lines:
            return None
        return _HEAD, [
            (
                line.verdict,
                line.dag_id,
                line.environment,
                f"{line.delivered:,}",
                money(line.revenue),
                f"{line.missing_events:,}" if line.missing_events else "",
                money(line.missing_revenue),
            )
            for line in self.lines
        ]

    def advice(self) -> list[tuple[str, str]]:
        """What went wrong by line and by reason, and what to do; the lines in their order, the largest revenue first."""
        told: list[tuple[str, str]] = []
        for line in self.lines:
            if line.verdict == "MISSING":
                told.append((f"{line.name}: MISSING", _NOT_RUN))
            if line.error:
                told.append((f"{line.name}: {line.verdict}", line.error))
            reasons = list(line.missing.items())
            for (outcome, reason), (count, amounts) in reasons[:_MOST_REASONS]:
                advice = reason_of(reason).advice
                what = _with(f"{line.name}: {count:,} {outcome}: {reason}", money(amounts))
                told.append((what, advice[0].upper() + advice[1:]))
            if len(reasons) > _MOST_REASONS:
                told.append((f"{line.name}: {len(reasons) - _MOST_REASONS} more reasons", "The page has all of them"))
        return told

    def links(self) -> list[tuple[str, str]]:
        """The links that there are, by name."""
        return [(name, url) for name, url in (("Adjust deliveries", self.page_url), ("Log", self.log_url)) if url]

    def as_result(self) -> dict[str, Any]:
        """The small dict that goes to XCom; JSON types only."""
        return {
            "verdict": self.verdict,
            "subject": self.subject,
            "lines": [
                {
                    "verdict": line.verdict,
                    "dag_id": line.dag_id,
                    "environment": line.environment or None,
                    "delivered": line.delivered,
                    "revenue": _as_text(line.revenue),
                    "missing": line.missing_events,
                    "missing_revenue": _as_text(line.missing_revenue),
                }
                for line in self.lines
            ],
        }

    def _by_environment(self, events: str, revenue: str) -> str:
        """What is delivered or missing in each environment, which is named where there is another than production."""
        told = {}
        for where in sorted({line.environment for line in self.lines}):
            lines = [line for line in self.lines if line.environment == where]
            count, amounts = (
                sum(getattr(line, events) for line in lines),
                _sum(getattr(line, revenue) for line in lines),
            )
            if count and events == "delivered":
                told[where] = _with(f"{count:,} events delivered", money(amounts))
            elif count:
                told[where] = f"{money(amounts) or f'{count:,} events'} missing"
        if set(told) <= {"production"}:
            return told.get("production", "")
        return ", ".join(f"{text} ({where or 'environment unknown'})" for where, text in told.items())


def _lines(dag: DagCounts) -> Iterator[DigestLine]:
    counts, environments = _placed(dag.counts)
    state = worst(dag.states)
    error = next((each for each in dag.errors if each), "")
    for environment in environments:
        delivered = {
            key: count
            for key, count in counts.events.items()
            if key.environment == environment and key.outcome == Outcome.DELIVERED.value
        }
        missing = missing_of(counts, environment)
        yield DigestLine(
            _BY_STATE[state] if state else "INCOMPLETE" if missing else "OK",
            dag.dag_id,
            environment,
            sum(delivered.values()),
            _sum({key.currency: counts.revenue[key]} for key in delivered if key in counts.revenue),
            missing,
            error if state in (FAILED, LOST) else "",
        )


def _placed(counts: Counts) -> tuple[Counts, list[str]]:
    """The counts by environment: rows that could not be read are the DAG's only environment's, if it has one only."""
    environments = sorted({key.environment for key in counts.events})
    named = [each for each in environments if each]
    if len(named) != 1 or len(environments) == 1:
        return counts, environments or [""]
    placed = Counts()
    for key, count in counts.events.items():
        placed.add(Key(named[0], *key[1:]), count, counts.revenue.get(key))
    return placed, named


def _weight(line: DigestLine) -> tuple[Any, ...]:
    return (
        VERDICTS.index(line.verdict),
        line.environment == "sandbox",
        -max(line.missing_revenue.values(), default=Decimal(0)),
        -line.missing_events,
        line.name,
    )


def _with(text: str, more: str) -> str:
    return f"{text}, {more}" if more else text


def _sum(amounts: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for each in amounts:
        for currency, amount in each.items():
            total[currency] = total.get(currency, Decimal(0)) + amount
    return total


def _as_text(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {currency: format(amount, "f") for currency, amount in sorted(amounts.items())}
