"""The digest of several DAGs' deliveries, for people: one line for each DAG and environment, the worst first.

Its format is that of the report on one delivery. It contains no rows, no device ids and no tokens, either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.notifications import formats
from airflow_provider_adjust.notifications.digest_ledger import DagCounts
from airflow_provider_adjust.notifications.digest_lines import VERDICTS, DigestLine, lines_of, sum_of, weight_of
from airflow_provider_adjust.s2s.account.amounts import plain
from airflow_provider_adjust.s2s.account.tables import money
from airflow_provider_adjust.s2s.answers.reasons import reason_of
from airflow_provider_adjust.s2s.ledger.rehearsals import PRODUCTION

#: The most reasons of one line that are listed with advice.
_MOST_REASONS = 3
_NOT_RUN = "No try began in the window. See whether the DAG is paused, waits for its data, or failed before it sent"
_HEAD = ("verdict", "dag", "environment", "events", "revenue", "missing", "missing revenue")


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
        """Build the lines from the ledger's counts.

        :param missing: the DAGs that were expected and have no try in the window.
        """
        lines = [DigestLine("MISSING", dag_id) for dag_id in missing]
        for dag in dags:
            lines += lines_of(dag)
        lines.sort(key=weight_of)
        return cls(start, end, lines, **links)

    @property
    def verdict(self) -> str:
        """The worst of the lines."""
        return self.lines[0].verdict if self.lines else "OK"

    @property
    def subject(self) -> str:
        """The result in one line, the verdicts first. Each environment is counted separately."""
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
        """Problems by line and reason, with what to do; the lines in their order, the largest revenue first."""
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
        """The available links, by name."""
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
        """Delivered or missing events by environment, which is named unless all are production."""
        told = {}
        for where in sorted({line.environment for line in self.lines}):
            lines = [line for line in self.lines if line.environment == where]
            count, amounts = (
                sum(getattr(line, events) for line in lines),
                sum_of(getattr(line, revenue) for line in lines),
            )
            if count and events == "delivered":
                told[where] = _with(f"{count:,} events delivered", money(amounts))
            elif count:
                told[where] = f"{money(amounts) or f'{count:,} events'} missing"
        if set(told) <= {PRODUCTION}:
            return told.get(PRODUCTION, "")
        return ", ".join(f"{text} ({where or 'environment unknown'})" for where, text in told.items())


def _with(text: str, more: str) -> str:
    return f"{text}, {more}" if more else text


def _as_text(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {currency: plain(amount) for currency, amount in sorted(amounts.items())}
