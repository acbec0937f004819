"""Tries of sending tasks with any end, and a morning with nights of every kind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import events, reasons, scopes, totals, tries, verdicts

NOW = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
NIGHT = f"scheduled__{NOW:%Y-%m-%d}T00:00:00+00:00"
BEFORE = f"scheduled__{NOW - timedelta(days=1):%Y-%m-%d}T00:00:00+00:00"
#: Outcome, reason, events, revenue in USD.
Counts = Iterable[tuple[str, str, int, str | None]]
SCOPES = {"production": 1, "sandbox": 2}
APP = "4w565xzmb54d"


def make_scopes(engine: sa.Engine, **names: str) -> None:
    """One kind of event in each environment."""
    with engine.begin() as connection:
        for environment, number in SCOPES.items():
            connection.execute(
                scopes.insert().values(
                    id=number,
                    destination="s2s.adjust.com",
                    app_token=APP,
                    endpoint="event",
                    event_key="f0ob4r",
                    environment=environment,
                    **names,
                )
            )


def record_try(
    engine: sa.Engine,
    dag_id: str,
    counts: Counts = (),
    *,
    run_id: str = NIGHT,
    state: str = "success",
    hours_ago: float = 5,
    environment: str = "production",
    is_latest: bool = True,
    dies: bool = False,
    **values: Any,
) -> int:
    """A try of the task ``send`` that ended, is running or was killed; return its number."""
    began = NOW - timedelta(hours=hours_ago)
    is_open = state == "running"
    counts = list(counts)
    with engine.begin() as connection:
        number: int = connection.execute(
            tries.insert().values(
                dag_id=dag_id,
                run_id=run_id,
                task_id="send",
                map_index=-1,
                try_number=1,
                state=state,
                is_latest=is_latest,
                started_at=began,
                heartbeat_at=began,
                lease_until=NOW + timedelta(hours=-1 if dies else 1),
                ended_at=None if is_open else began + timedelta(minutes=2),
                read=sum(each[2] for each in counts),
                error=values.get("error", ""),
                rejected_path=values.get("rejected_path", ""),
                environment=environment,
            )
        ).inserted_primary_key[0]  # type: ignore[index]
        for place, (outcome, reason, count, revenue) in enumerate(counts):
            is_read = outcome != "invalid" and environment in SCOPES
            connection.execute(
                totals.insert().values(
                    try_id=number,
                    number=place,
                    scope_id=SCOPES[environment] if is_read else None,
                    day=values.get("day", began.date()) if is_read else None,
                    outcome=outcome,
                    reason=reason,
                    currency=revenue and "USD",
                    events=count,
                    revenue=revenue,
                )
            )
    return number


def record_events(engine: sa.Engine, try_id: int, rows: Iterable[tuple[str, int, str]], *, scope_id: int = 1) -> None:
    """Events of a try: id, number of the status, reason. Each has 12.50 USD."""
    with engine.begin() as connection:
        for position, (event_id, status, code) in enumerate(rows):
            number = connection.scalar(sa.select(reasons.c.id).where(reasons.c.code == code))
            if number is None:
                made = connection.execute(reasons.insert().values(code=code))
                number = made.inserted_primary_key[0]  # type: ignore[index]
            connection.execute(
                events.insert().values(
                    occurred_at=NOW - timedelta(hours=6, seconds=position),
                    try_id=try_id,
                    scope_id=scope_id,
                    position=position,
                    status=status,
                    reason=number,
                    lost_answers=0,
                    event_id=event_id,
                    currency="USD",
                    revenue=Decimal("12.50"),
                )
            )


def record_verdict(
    engine: sa.Engine, day: datetime, verdict: str, sent: int, seen: int, dag_id: str, *, currency: str = ""
) -> None:
    """What Adjust showed of a day in production."""
    with engine.begin() as connection:
        connection.execute(
            verdicts.insert().values(
                scope_id=1,
                day=day.date(),
                source="report",
                currency=currency,
                verdict=verdict,
                checked_at=NOW - timedelta(hours=2),
                sent_events=sent,
                seen_events=seen,
                dag_id=dag_id,
                run_id=NIGHT,
                task_id="reconcile",
            )
        )


def bad_morning(engine: sa.Engine) -> None:
    """Twelve nights of one DAG with a day missing, the last with refusals; another's wrong token; a rehearsal."""
    make_scopes(engine, event_name="purchase", conn_id="adjust_ios")
    for night in range(12, 0, -1):
        if night != 4:
            good = [
                ("delivered", "", 400 + 7 * night, f"{12_000 + 311 * night}.50"),
                *([("rejected", "device_not_found", night % 4, f"{night % 4 * 21}.00")] if night % 4 else []),
            ]
            run_id = f"scheduled__{NOW - timedelta(days=night):%Y-%m-%d}T00:00:00+00:00"
            record_try(engine, "shop_purchases", good, run_id=run_id, hours_ago=5 + 24 * night)
            record_verdict(engine, NOW - timedelta(hours=5 + 24 * night), "equal", 400, 400, "shop_purchases")
    last = record_try(
        engine,
        "shop_purchases",
        [
            ("delivered", "", 263, "9021.17"),
            ("rejected", "bad_event_state", 112, "3801.02"),
            ("rejected", "device_not_found", 64, "1849.65"),
            ("in_doubt", "no_answer", 3, "37.50"),
        ],
        state="failed",
        error="RejectedBudgetExceeded: 176 of 442 events were refused, 5,650.67 USD",
        rejected_path="{FILES}/rejected/shop_purchases/20261128T000000.jsonl",
    )
    record_events(
        engine,
        last,
        [
            *((f"order-{number}", 3, "bad_event_state") for number in range(112)),
            *((f"order-{number}", 3, "device_not_found") for number in range(112, 176)),
            *((f"order-{number}", 4, "no_answer") for number in range(176, 179)),
            ("=order-9", 1, ""),
        ],
    )
    record_try(engine, "shop_subscriptions", [("delivered", "", 88, "880.00")], run_id=BEFORE, hours_ago=29)
    record_try(
        engine,
        "shop_subscriptions",
        state="failed",
        error="DeliveryHalted: 401 wrong_s2s_token: the token is not known",
    )
    record_try(engine, "shop_rehearsal", [("delivered", "", 99, "424242.00")], environment="sandbox", hours_ago=3)
