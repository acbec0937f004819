"""``ignore_columns``: a source may have more than Adjust takes, and the log says once what is left out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import purchase, recorded
from operators.sending import operator, send
from structlog.testing import capture_logs

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.sandbox import SandboxServer


def log_of(rows: list[dict[str, Any]], **arguments: Any) -> str:
    """What a task that succeeds logs: each message after its level."""
    with capture_logs() as events:
        assert send(rows, **arguments)["read"] == len(rows)
    return "\n".join(f"{event['log_level']}: {event['event']}" for event in events)


def wide(number: int, **more: Any) -> dict[str, Any]:
    return purchase(number) | {"shop": "north", "loaded_at": "2026-05-01"} | more


def test_ignored_columns_are_not_sent_and_are_logged_once(adjust: SandboxServer) -> None:
    said = log_of([wide(number) for number in range(3)], ignore_columns=["shop", "loaded_at"])
    assert len(adjust.events()) == 3
    assert not {"shop", "loaded_at"} & {name for event in adjust.events() for name in event["params"]}
    assert said.count("info: Columns that are not sent, by ignore_columns: 'shop', 'loaded_at'") == 1
    assert "ignore_columns is *" not in said


def test_a_star_leaves_out_all_that_is_unknown_and_warns_of_what_may_be_money(adjust: SandboxServer) -> None:
    said = log_of([wide(1), wide(2, revenue_="5"), wide(3, extra="x", Revenue_usd="5")], ignore_columns="*")
    assert len(adjust.events()) == 3
    for name in ("shop", "loaded_at", "revenue_", "extra", "Revenue_usd"):
        assert said.count(f"'{name}'") == (2 if "evenue" in name else 1), name
    assert "warning: The column 'revenue_' is not sent, since ignore_columns is *; if it is revenue, name it" in said


def test_a_dry_run_says_it_too(adjust: SandboxServer) -> None:
    said = log_of([wide(1), wide(2)], ignore_columns="*", dry_run=True)
    assert said.count("by ignore_columns: 'shop', 'loaded_at'") == 1


def test_many_columns_are_not_all_listed(adjust: SandboxServer) -> None:
    said = log_of([wide(1) | {f"x{number}": number for number in range(1_000)}], ignore_columns="*")
    assert "'x37' and 962 more" in said


def test_a_csv_file_with_more_than_adjust_takes(adjust: SandboxServer, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(wide(1)))
        writer.writeheader()
        writer.writerows([wide(1), wide(2)])
    path = str(tmp_path / "rows.csv")
    with pytest.raises(AirflowFailException, match=r'ignore_columns=\["shop", "loaded_at"\]'):
        operator(path).execute({})
    with pytest.raises(AirflowFailException, match="it has no column 'shops', which ignore_columns names"):
        operator(path, ignore_columns=["shops", "loaded_at"]).execute({})
    assert recorded(adjust, "revenue") == []
    assert send(path, ignore_columns=["shop", "loaded_at"])["delivered"] == 2


def test_rows_of_a_list_may_have_different_columns(adjust: SandboxServer, tmp_path: Path) -> None:
    """A name that some rows have refuses these; one that all have is a mistake of the task."""
    rows = [purchase(1, revenu="1"), purchase(2), purchase(3, country="de")]
    result = send(rows, max_rejected=1)
    assert (result["delivered"], result["by_reason"]) == (2, {"unknown_parameter": 1})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(purchase(number, revenu="1")) + "\n" for number in range(4, 7)))
    with pytest.raises(AirflowFailException, match=r"(?s)unknown columns: 'revenu' .*the same: 3\)"):
        operator(str(path), max_rejected=1.0).execute({})
    assert len(adjust.events()) == 2
