"""A file of 10,000 rows, of which 500 are broken in every way that we know: the others arrive, and the 500 are named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import EVENT_TOKEN, IP_ADDRESS, START, Said, device, purchase, recorded, reveals

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator
from airflow_provider_adjust.sandbox import SandboxServer

ROWS = 10_000
BROKEN = 500
EVERY = ROWS // BROKEN
DAY = 86_400

Break = Callable[[dict[str, Any]], Any]


def change(**changes: Any) -> Break:
    """The row with other values; `...` takes one away."""
    return lambda row: {name: value for name, value in (row | changes).items() if value is not ...}


def json_text(text: str) -> Break:
    return lambda row: text


NESTED: dict[str, Any] = {"shop": {"id": 7}}
KINDS: list[tuple[str, Break]] = [
    # the reason that the rejected file must give, and what is wrong with the row
    ("unreadable_row", json_text('{"order_id": "o-1", "gps_adid": "de71ce00-0000')),
    ("unreadable_row", json_text("order_id,gps_adid,revenue")),
    ("unreadable_row", json_text("{'order_id': 'o-1'}")),
    ("not_a_row", json_text("null")),
    ("not_a_row", json_text('["o-1", "1.25", "EUR"]')),
    ("missing_event_id", change(order_id=None)),
    ("missing_event_id", change(order_id="  ")),
    ("missing_device_id", change(gps_adid=None)),
    ("missing_device_id", change(gps_adid="00000000-0000-0000-0000-000000000000")),
    ("invalid_gps_adid", change(gps_adid="x" * 513)),
    ("invalid_gps_adid", change(gps_adid=["x"])),
    ("missing_created_at", change(created_at=...)),
    ("missing_created_at", change(created_at="")),
    ("invalid_created_at", change(created_at="yesterday")),
    ("invalid_created_at", change(created_at="2026-02-30T10:00:00Z")),
    ("invalid_created_at", change(created_at=START.date().isoformat())),
    ("invalid_created_at", change(created_at=int(START.timestamp()) * 1000)),
    ("created_at_in_future", change(created_at=START.timestamp() + 3 * DAY)),
    ("expired", change(created_at=START.timestamp() - 60 * DAY)),
    ("conflicting_created_at", change(created_at_unix=int(START.timestamp()) - 1)),
    ("invalid_revenue", change(revenue="1,25")),
    ("invalid_revenue", change(revenue="-1.25")),
    ("invalid_revenue", change(revenue=0)),
    ("invalid_revenue", change(revenue="free")),
    ("invalid_revenue", change(revenue=float("nan"))),
    ("invalid_revenue", change(revenue=True)),
    ("invalid_revenue", change(revenue=100_000_000_001)),
    ("missing_currency", change(currency=None)),
    ("invalid_currency", change(currency="EURO")),
    ("invalid_ip_address", change(ip_address="203.0.113.256")),
    ("invalid_ip_address", change(ip_address=f"{IP_ADDRESS}, {IP_ADDRESS}")),
    ("unknown_parameter", change(Revenue="1.25")),
    ("unknown_parameter", change(customer_name="A. Person")),
    ("invalid_callback_params", change(callback_params=NESTED)),
    ("invalid_callback_params", change(callback_params="{broken")),
    ("invalid_partner_params", change(partner_params=["a"])),
    ("conflicting_att_status", change(att_status="3", tracking_enabled=True)),
    ("invalid_tracking_enabled", change(tracking_enabled="perhaps")),
    ("invalid_environment", change(environment="Production")),
    ("invalid_event_token", change(event_token="f0 ob4r")),
    ("invalid_app_token", change(app_token="4w565-zmb54d")),
    ("invalid_device_name", change(device_name="\ud800")),
    ("invalid_os_name", change(os_name="phone")),
    ("invalid_session_count", change(session_count=-1)),
    ("too_large", change(device_name="x" * 1_000_000)),
]  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file: every twentieth row is broken, the kinds take turns, the others are two purchases for each device."""
    path = tmp_path_factory.mktemp("bad_input") / "night.jsonl"
    with path.open("w") as file:
        for number in range(ROWS):
            row = purchase(number, gps_adid=device(number // 2), revenue="0.10")
            broken, kind = divmod(number, EVERY)
            if kind == 7:
                row = KINDS[broken % len(KINDS)][1](row)
            file.write(f"{row if isinstance(row, str) else json.dumps(row)}\n")
    return path


REASONS = Counter(KINDS[broken % len(KINDS)][0] for broken in range(BROKEN))


def operator(night: Path, rejected: Path, **arguments: Any) -> AdjustSendEventsOperator:
    return AdjustSendEventsOperator(
        task_id="send",
        events=str(night),
        event_token=EVENT_TOKEN,
        id_field="order_id",
        rejected_path=str(rejected),
        **arguments,
    )


def test_it_is_bad_enough() -> None:
    assert len(KINDS) >= 40
    assert len(REASONS) >= 25
    assert sum(REASONS.values()) == BROKEN


def test_500_broken_rows_of_10000_do_not_keep_the_others_from_arriving(
    adjust: SandboxServer, tmp_path: Path, said: Said, night: Path
) -> None:
    rejected = tmp_path / "rejected.jsonl"
    with pytest.raises(AirflowFailException) as failure:
        operator(night, rejected).execute({})

    # All of the others are there, in order, once, to the cent.
    stats = adjust.stats()
    assert (stats["recorded"], stats["requests"], stats["order_violations"]) == (9_500, 9_500, 0)
    assert stats["revenue"] == {"EUR": "950.00"}
    sent = Counter(recorded(adjust, "created_at_unix"))
    first = int(START.timestamp())
    assert sent == Counter(str(first + number) for number in range(ROWS) if number % EVERY != 7)

    # Each of the 500 is named by its place and its id, with a reason, and with the row as it was.
    lines = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [line["position"] for line in lines] == [number + 1 for number in range(7, ROWS, EVERY)]
    for place, line in enumerate(lines):
        reason, broken = KINDS[place % len(KINDS)]
        assert line["reason"] == reason, line["position"]
        assert line["outcome"] == ("expired" if reason == "expired" else "invalid")
        assert line["detail"]
        assert line["event_id"]
        if reason not in {"unreadable_row", "not_a_row", "missing_event_id"}:
            assert line["event_id"] == f"o-{line['position'] - 1}"
            number = line["position"] - 1
            row = broken(purchase(number, gps_adid=device(number // 2), revenue="0.10"))
            assert line["row"] == json.loads(json.dumps(row), parse_constant=str)
    assert not reveals([line["detail"] for line in lines])
    assert not reveals([line["event_id"] for line in lines])

    # The log has a table of reasons; the failure says what to do about the largest; neither reveals anything.
    message = str(failure.value)
    assert "500 of 10,000 events were refused; max_rejected allows 0" in message
    assert f"\n{REASONS['invalid_revenue']} invalid_revenue: " in message
    table = {tuple(line.split()[:3]) for line in str(said).splitlines()}
    assert table >= {("read", "10,000"), ("delivered", "9,500", "950.00")}
    outcome = {reason: "expired:" if reason == "expired" else "invalid:" for reason in REASONS}
    assert table >= {(outcome[reason], reason, str(count)) for reason, count in REASONS.items()}
    assert str(rejected) in message
    assert not reveals(message)
    assert not reveals(said)


@pytest.mark.parametrize(("budget", "passes"), [(50, True), (0.05, True), (49, False), (0.049, False)])
def test_a_budget_lets_them_pass_and_the_result_accounts_for_them(
    adjust: SandboxServer, tmp_path: Path, night: Path, budget: float, passes: bool
) -> None:
    """The first thousand rows, which have every kind."""
    part = tmp_path / "night.jsonl"
    with night.open() as file:
        part.write_text("".join(islice(file, 1000)))
    task = operator(part, tmp_path / "rejected.jsonl", max_rejected=budget)
    if not passes:
        with pytest.raises(AirflowFailException, match="50 of 1,000 events were refused; max_rejected allows 49"):
            task.execute({})
        return
    result = task.execute({})
    reasons = Counter(KINDS[broken % len(KINDS)][0] for broken in range(50))
    counts = {name: count for name, count in result.items() if isinstance(count, int) and count}
    assert counts == {"read": 1000, "delivered": 950, "invalid": 50 - reasons["expired"], "expired": reasons["expired"]}
    assert result["by_reason"] == dict(reasons)
    assert result["revenue"] == adjust.stats()["revenue"] == {"EUR": "95.00"}
