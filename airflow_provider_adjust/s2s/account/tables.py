"""The texts of a delivery: a progress line while it runs, tables at its end. Every text table is built here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from airflow_provider_adjust.s2s.account.amounts import shown
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.outcome import FINAL_OUTCOMES, SETTLED_BEFORE, UNDELIVERED, Outcome
from airflow_provider_adjust.s2s.answers.reasons import reason_of

#: Seconds of a try before the remaining time is estimated: the first events are not representative.
_ESTIMATE_AFTER = 20.0
#: The most reasons that are listed with advice.
_MOST_ADVICE = 6


def progress_line(
    summary: DeliverySummary,
    *,
    seconds: float,
    settled_before: int = 0,
    expected: int | None = None,
    slowed_to: str | None = None,
    waiting_for: str = "",
) -> str:
    """The log line of a running delivery: counts, this try's rate, and with a known total the share and the time left.

    :param settled_before: how many of the summary's events were settled by earlier tries and runs.
    :param waiting_for: what the delivery waits for, as text.
    """
    settled = summary.settled
    rate = (settled - settled_before) / seconds if seconds > 0 else 0.0
    parts = [f"{settled:,} events settled"]
    if expected:
        parts[0] = f"{settled:,} of {expected:,} events settled ({settled / expected:.0%})"
    if settled_before:
        parts.append(f"{settled_before:,} of them before this try")
    parts.append(f"{summary.outcomes[Outcome.DELIVERED.value]:,} delivered")
    parts.append(f"{summary.count(UNDELIVERED) + summary.differing:,} not delivered")
    parts.append(f"{rate:,.0f}/s")
    if slowed_to is not None:
        parts.append(f"slowed down by Adjust to {slowed_to}")
    if waiting_for:
        parts.append(waiting_for)
    if expected and rate > 0 and seconds >= _ESTIMATE_AFTER:
        parts.append(f"about {_duration(max(0, expected - settled) / rate)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def summary_table(summary: DeliverySummary) -> str:
    """Events and revenue by outcome, then the events that were not delivered by reason, with the revenue affected."""
    table = plain_table(("outcome", "events", "revenue"), outcome_rows(summary), right=("events",))
    if reasons := reason_rows(summary):
        table += "\n\n" + plain_table(("reason", "events", "revenue affected"), reasons, right=("events",))
    if summary.first_event_at and summary.last_event_at:
        table += f"\ndelivered events from {summary.first_event_at.isoformat()} to {summary.last_event_at.isoformat()}"
    return table


def summary_report(summary: DeliverySummary, tolerated: frozenset[str] = frozenset()) -> str:
    """The tables, and advice about undelivered events, except tolerated ones."""
    return "\n\n".join(filter(None, (summary_table(summary), "\n".join(advice_lines(summary, tolerated)))))


def missing_line(summary: DeliverySummary) -> str:
    """The events and money that a successful delivery did not deliver, by reason; empty if nothing is missing."""
    missing = summary.count(UNDELIVERED) + summary.differing
    if not missing:
        return ""
    total: dict[str, Decimal] = {}
    for amounts in summary.revenue_by_reason.values():
        for currency, amount in amounts.items():
            total[currency] = total.get(currency, Decimal(0)) + amount
    worth = f", {money(total)}," if total else ""
    reasons = ", ".join(f"{summary.reasons[key]:,} {key[1]}" for key in summary.undelivered_reasons())
    return (
        f"{missing:,} of {summary.new:,} events{worth} were not delivered, although the task succeeds (max_rejected, "
        f"tolerate): {reasons}"
    )


def outcome_rows(summary: DeliverySummary) -> list[tuple[str, str, str]]:
    """Outcome, count and delivered revenue of each outcome with events."""
    rows = [("read", f"{summary.read:,}", "")]
    for outcome in FINAL_OUTCOMES:
        if count := summary.outcomes[outcome.value]:
            note = money(summary.revenue) if outcome is Outcome.DELIVERED else ""
            if outcome is Outcome.SKIPPED and summary.unsent_revenue:
                note = money(summary.unsent_revenue)
            if outcome is Outcome.SKIPPED and summary.known:
                note = f"{summary.known:,} settled by earlier runs"
            rows.append((outcome.value, f"{count:,}", note))
    if summary.adjusted:
        left_out = ", ".join(f"{name} {count:,}" for name, count in summary.left_out.most_common())
        notes = [f"left out: {left_out}"] if left_out else []
        if summary.at_lane_time:
            notes.append(f"sent at the lane's time: {summary.at_lane_time:,}")
        rows.append(("adjusted", f"{summary.adjusted:,}", "; ".join(notes)))
    return rows


def reason_rows(summary: DeliverySummary) -> list[tuple[str, str, str]]:
    """Outcome and reason, count and affected revenue of each reason that is new, the most frequent first."""
    return [
        (f"{outcome}: {reason}", f"{count:,}", money(summary.revenue_by_reason.get((outcome, reason), {})))
        for (outcome, reason), count in summary.reasons.most_common()
        if reason not in SETTLED_BEFORE
    ]


def advice_lines(summary: DeliverySummary, tolerated: frozenset[str] = frozenset()) -> list[str]:
    """Undelivered events by reason: count, revenue, whether a retry can help, what to do, and the first row.

    The largest revenue comes first. After six reasons, one line says how many are left.

    :param tolerated: outcomes and reasons that are not listed.
    """
    keys = [key for key in summary.undelivered_reasons() if tolerated.isdisjoint(key)]
    lines = []
    for outcome, reason in keys[:_MOST_ADVICE]:
        amounts = money(summary.revenue_by_reason.get((outcome, reason), {}))
        count = f"{summary.reasons[outcome, reason]:,} {reason}" + (f", {amounts}" if amounts else "")
        lines.append(f"{count}: {reason_of(reason).advice}")
        if first := summary.first_details.get((outcome, reason)):
            lines.append(f"  first: {first}")
    if len(keys) > _MOST_ADVICE:
        lines.append(f"and {len(keys) - _MOST_ADVICE} more")
    return lines


def money(amounts: Mapping[str, Decimal]) -> str:
    """Amounts by currency, as text."""
    return ", ".join(f"{shown(amount)} {currency}" for currency, amount in sorted(amounts.items()))


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """A table in plain text, with columns two spaces apart; those named in ``right`` are aligned to the right.

    The cells are shown as they are. ``tabulate`` would strip their spaces and widen the columns.
    """
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(
            f"{text:>{width}}" if name in right else f"{text:<{width}}"
            for name, text, width in zip(head, line, widths, strict=True)
        ).rstrip()
        for line in (head, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join(lines)
