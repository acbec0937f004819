"""Every row has one outcome, and refusals that are settled in a checkpoint are in the rejected file, whatever follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from operators.adjust_account import TaskStateStore, purchase
from operators.sending import has_task_state_store, lines, operator

from airflow_provider_adjust.airflow_versions import AirflowFailException
from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.sandbox import SandboxServer


def test_a_row_without_an_outcome_fails_the_task_for_good(
    adjust: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No input makes one, so a receipt is lost here on purpose."""
    count = DeliverySummary.add

    def lose_the_second(self: DeliverySummary, receipt: Receipt) -> None:
        if receipt.position != 2:
            count(self, receipt)

    monkeypatch.setattr(DeliverySummary, "add", lose_the_second)
    with pytest.raises(AirflowFailException, match="CountsMismatch: 3 rows were read but 2 have an outcome"):
        operator([purchase(1), purchase(2), purchase(3)]).execute({})


@has_task_state_store
def test_what_a_checkpoint_calls_settled_is_in_the_rejected_file_already(adjust: SandboxServer, tmp_path: Path) -> None:
    """Else a worker that is killed right after the write would leave a refused row in no file at all."""
    rejected = tmp_path / "rejected.jsonl"
    listed: list[list[str]] = []

    class Store(TaskStateStore):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            listed.append([line["event_id"] for line in lines(rejected)])
            super().set(key, value, retention=retention)

    rows = [purchase(1, revenue="-1"), purchase(2), purchase(3, revenue="-1")]
    operator(rows, rejected_path=str(rejected), max_rejected=2).execute({"task_state_store": Store()})
    assert listed[-1:] == [["o-1", "o-3"]]
