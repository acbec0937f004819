"""The lines of the digest: what the ledger counted, per DAG and environment, and the verdict on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_adjust.notifications.digest_counts import Counts, Key
from airflow_provider_adjust.notifications.digest_ledger import DagCounts
from airflow_provider_adjust.s2s.answers.outcome import Outcome, is_undelivered
from airflow_provider_adjust.s2s.ledger.rehearsals import PRODUCTION
from airflow_provider_adjust.s2s.ledger.tries import FAILED, LOST, RUNNING

#: Worst first.
VERDICTS = ("MISSING", "FAILED", "KILLED", "INCOMPLETE", "RUNNING", "OK")
_BY_STATE = {FAILED: "FAILED", LOST: "KILLED", RUNNING: "RUNNING"}


@dataclass(frozen=True)
class DigestLine:
    """One DAG in one environment; ``environment`` is empty if no row of the DAG names one."""

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
        return sum_of(amounts for _, amounts in self.missing.values())

    @property
    def name(self) -> str:
        return f"{self.dag_id} ({self.environment})" if self.environment else self.dag_id


def lines_of(dag: DagCounts) -> Iterator[DigestLine]:
    counts, environments = _placed(dag.counts)
    if not counts.events:
        environments = sorted(dag.set_up_for)
    state = _worst(dag.states)
    error = next((each for each in dag.errors if each), "")
    for environment in environments:
        delivered = {
            key: count
            for key, count in counts.events.items()
            if key.environment == environment and key.outcome == Outcome.DELIVERED.value
        }
        missing = _missing_of(counts, environment)
        yield DigestLine(
            _BY_STATE[state] if state else "INCOMPLETE" if missing else "OK",
            dag.dag_id,
            environment,
            sum(delivered.values()),
            sum_of({key.currency: counts.revenue[key]} for key in delivered if key in counts.revenue),
            missing,
            error if state in (FAILED, LOST) else "",
        )


def _placed(counts: Counts) -> tuple[Counts, list[str]]:
    """The counts by environment. If the DAG has one environment, rows that could not be read count there."""
    environments = sorted({key.environment for key in counts.events})
    named = [each for each in environments if each]
    if len(named) != 1 or len(environments) == 1:
        return counts, environments or [""]
    placed = Counts()
    for key, count in counts.events.items():
        placed.add(Key(named[0], *key[1:]), count, counts.revenue.get(key))
    return placed, named


def weight_of(line: DigestLine) -> tuple[Any, ...]:
    return (
        VERDICTS.index(line.verdict),
        line.environment not in {PRODUCTION, ""},
        -max(line.missing_revenue.values(), default=Decimal(0)),
        -line.missing_events,
        line.name,
    )


def _missing_of(counts: Counts, environment: str) -> dict[tuple[str, str], tuple[int, dict[str, Decimal]]]:
    """Events and revenue that Adjust does not have, by outcome and reason, the largest revenue first, then the most events."""
    found: dict[tuple[str, str], tuple[int, dict[str, Decimal]]] = {}
    for key, count in counts.events.items():
        if key.environment == environment and is_undelivered(key.outcome, key.reason):
            before, amounts = found.get((key.outcome, key.reason), (0, {}))
            if (amount := counts.revenue.get(key)) is not None:
                amounts = amounts | {key.currency: amounts.get(key.currency, Decimal(0)) + amount}
            found[key.outcome, key.reason] = (before + count, amounts)
    return dict(
        sorted(found.items(), key=lambda item: (max(item[1][1].values(), default=Decimal(0)), item[1][0]), reverse=True)
    )


def _worst(states: Collection[str]) -> str | None:
    """The state that a DAG's line reports; None if all went well."""
    return next((state for state in (FAILED, LOST, RUNNING) if state in states), None)


def sum_of(amounts: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for each in amounts:
        for currency, amount in each.items():
            total[currency] = total.get(currency, Decimal(0)) + amount
    return total
