"""An event that the ledger has from another DAG is not sent again, and that does not pass unseen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zlib import crc32

import pytest
import sqlalchemy as sa
from fake_transport import UNKNOWN_DEVICE, FakeTransport
from memory_store import MemoryStore
from s2s_case import NOW
from table import table

from airflow_provider_adjust.s2s import (
    Checkpoint,
    ClaimedByAnotherDag,
    EventParser,
    Ledger,
    Outcome,
    Receipt,
    Route,
    RowOptions,
    Sender,
    SendOptions,
    TaskInstanceId,
)
from airflow_provider_adjust.s2s.account.foreign import check_foreign_claims
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.transports import Target


@pytest.fixture
def ledger_of(ledger_engine: sa.Engine) -> Iterator[Any]:
    """Makes the ledger of a DAG's try; they are closed at the end."""
    made: list[Ledger] = []

    def make(dag_id: str, run_id: str = "night", **options: Any) -> Ledger:
        task = TaskInstanceId(dag_id, run_id, "send", -1, 1)
        made.append(Ledger(ledger_engine, task, now=lambda: NOW, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def rows(*numbers: int, event_token: str = "f0ob4r") -> list[dict[str, Any]]:
    return [
        {
            "order_id": f"o-{number}",
            "gps_adid": f"00000000-0000-4000-8000-{number:012x}",
            "created_at": (NOW - timedelta(hours=1, seconds=-number)).isoformat(),
            "revenue": "10.50",
            "currency": "USD" if number == 9 else "EUR",
            "event_token": event_token,
        }
        for number in numbers
    ]


def sender(ledger: Ledger, transport: FakeTransport | None = None, **options: Any) -> Sender:
    parser = EventParser(RowOptions(id_field="order_id", app_token="4w565xzmb54d", environment="sandbox"))
    route = Route(parser, Target("https://s2s.adjust.test/event", "T"))
    checkpoint = options.pop("checkpoint", None)
    return Sender(
        {None: route},
        transport or FakeTransport(),
        SendOptions(**options),
        ledger=ledger,
        checkpoint=checkpoint,
        now=lambda: NOW,
    )


def deliver(ledger: Ledger, *numbers: int) -> None:
    assert {receipt.outcome for receipt in sender(ledger).send(rows(*numbers))} == {Outcome.DELIVERED}
    ledger.end()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


MESSAGE = (
    "2 events (10.50 EUR, 10.50 USD) were not sent, because the ledger has them from DAG team_b. If that is wrong, give "
    'this DAG a ledger of its own; if it is right, set on_foreign_claim="allow"'
)


@pytest.mark.parametrize("policy", ["warn", "error", "allow", None])
def test_what_another_dag_delivered_is_never_sent_again_whatever_is_done_about_it(
    ledger_of: Any, caplog: pytest.LogCaptureFixture, policy: Any
) -> None:
    deliver(ledger_of("team_b"), 1, 9)
    transport, receipts, error = FakeTransport(), [], None
    sending = sender(ledger_of("team_a"), transport, on_foreign_claim=policy).send(rows(1, 2, 9))
    try:
        for receipt in sending:
            receipts.append(receipt)
    except ClaimedByAnotherDag as failure:
        error = str(failure)
    assert sorted((each.event_id, each.outcome, each.claimed_by) for each in receipts) == [
        ("o-1", Outcome.SKIPPED, "team_b"),
        ("o-2", Outcome.DELIVERED, None),
        ("o-9", Outcome.SKIPPED, "team_b"),
    ]
    assert len(transport.sent) == 1
    assert error == (MESSAGE if policy == "error" else None)
    assert warnings(caplog) == ([MESSAGE] if policy in {"warn", None} else [])


@table(
    ("holder", "taker", "claimed_by"),
    [
        ("team_a", "team_a", None),  # another run of the same DAG
        ("team_b", "team_a", "team_b"),
        ("Team_A", "team_a", "Team_A"),
        ("", "team_a", ""),  # the command line
        ("team_a", "", "team_a"),
        ("", "", None),
    ],
)
def test_the_receipt_names_the_dag_only_if_it_is_another_one(
    ledger_of: Any, holder: str, taker: str, claimed_by: str | None
) -> None:
    number = 1 + crc32(f"{holder} {taker}".encode()) % 3000
    deliver(ledger_of(holder, f"earlier {number}"), number)
    [receipt] = sender(ledger_of(taker, f"later {number}"), on_foreign_claim="allow").send(rows(number))
    assert (receipt.outcome, receipt.reason, receipt.claimed_by) == (Outcome.SKIPPED, "delivered_before", claimed_by)


@pytest.mark.parametrize(("id_scope", "event_token"), [("event", "f0ob4r"), ("app", "f0ob4r"), ("app", "other1")])
@pytest.mark.parametrize("has_ended", [True, False])
def test_what_another_dag_has_or_is_sending_counts_by_whatever_rule_the_id_is_known(
    ledger_of: Any, id_scope: Any, event_token: str, has_ended: bool
) -> None:
    first = ledger_of("team_b")
    if has_ended:
        deliver(first, 1)
    else:
        [job] = sender(first).jobs(rows(1))
        first.begin_claim([job]).result()
    ledger = ledger_of("team_a", id_scope=id_scope)
    [receipt] = sender(ledger, on_foreign_claim="allow").send(rows(1, event_token=event_token))
    assert receipt.reason == ("delivered_before" if has_ended else "sent_elsewhere")
    assert receipt.claimed_by == "team_b"


@pytest.mark.parametrize("dag_id", ["team_a", "team_b"])
def test_what_another_dag_was_refused_counts_too(ledger_of: Any, dag_id: str) -> None:
    first = ledger_of(dag_id)
    [refused] = sender(first, FakeTransport(otherwise=UNKNOWN_DEVICE)).send(rows(1))
    assert refused.outcome is Outcome.REJECTED
    first.end()
    receipts, error = [], ""
    try:
        receipts += sender(ledger_of("team_a", "later"), on_foreign_claim="error").send(rows(1))
    except ClaimedByAnotherDag as failure:
        error = str(failure)
    if dag_id == "team_a":
        assert [(each.reason, each.claimed_by) for each in receipts] == [("refused_before", None)]
    assert error.startswith("1 events (10.50 EUR) were not sent, because the ledger has them") == (dag_id == "team_b")


def test_what_another_dag_left_in_doubt_counts_too(ledger_of: Any) -> None:
    first = ledger_of("team_b")
    [job] = sender(first).jobs(rows(1))
    first.begin_claim([job]).result()
    first.end()
    ledger = ledger_of("team_a", on_in_doubt="hold")
    [receipt] = sender(ledger, on_foreign_claim="allow", on_in_doubt="hold").send(rows(1))
    assert (receipt.outcome, receipt.claimed_by) == (Outcome.IN_DOUBT, "team_b")


def test_what_another_dag_delivered_with_other_content_counts_too(ledger_of: Any) -> None:
    deliver(ledger_of("team_b"), 1)
    changed = [{**row, "revenue": "1.00"} for row in rows(1)]
    [receipt] = sender(ledger_of("team_a"), on_foreign_claim="allow").send(changed)
    assert (receipt.reason, receipt.claimed_by) == ("differs_from_delivered", "team_b")


def test_a_retry_counts_what_an_earlier_try_has_skipped(ledger_of: Any) -> None:
    """A checkpoint does not offer it to the ledger again."""
    deliver(ledger_of("team_b"), 1)
    store = MemoryStore()
    for run in ("first", "second"):
        sending = sender(ledger_of("team_a", run), on_foreign_claim="error", checkpoint=Checkpoint(store))
        with pytest.raises(ClaimedByAnotherDag, match=r"1 events \(10\.50 EUR\) were not sent"):
            list(sending.send(rows(1)))
        sending.save()


def test_many_dags_are_counted_and_hostile_names_are_shown_harmlessly() -> None:
    summary = DeliverySummary()
    for number, dag in enumerate(["a", "a", "a", "b", "b", "", "", "d\x1b[2J", "e"]):
        summary.add(Receipt(Outcome.SKIPPED, "delivered_before", "id", number, claimed_by=dag))
    with pytest.raises(ClaimedByAnotherDag) as failure:
        check_foreign_claims(summary, "error")
    assert str(failure.value).startswith(
        "9 events were not sent, because the ledger has them from DAG a, DAG b, a sender outside Airflow's DAGs and 2 more."
    )
    hostile = DeliverySummary()
    hostile.add(Receipt(Outcome.SKIPPED, "delivered_before", "id", 1, claimed_by="d\x1b[2J\u202e" + "x" * 300))
    with pytest.raises(ClaimedByAnotherDag) as failure:
        check_foreign_claims(hostile, "error")
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) < 350


def test_a_checkpoint_that_knows_of_no_claims_is_read() -> None:
    state = DeliverySummary().as_state()
    del state["claimed_by"], state["claimed_revenue"]
    assert DeliverySummary.from_state(state) == DeliverySummary()
