"""`ledger prune`: what is deleted, the report, the exit codes, and Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from operators.adjust_account import EVENT_TOKEN
from operators.old_ledger import at_the_first_batch, remember, remembered

Cli = Callable[..., Any]
FileOf = Callable[..., Path]
EVENT = ("--event-token", EVENT_TOKEN, "--id-field", "order_id")
PRUNE = ("ledger", "prune", "--ledger-conn-id", "adjust_ledger")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 0, "0 settled events older than 90 days"),
        (("--older-than-days", "30"), 2, "at least 58 days"),
        (("--older-than-days", "60"), 0, "1 settled events older than 60 days"),
    ],
)
def test_old_events_are_pruned_from_the_ledger(
    cli: Cli, ledger: sa.Engine, options: tuple[str, ...], code: int, words: str
) -> None:
    remember(ledger, ("delivered", timedelta(days=80)), ("delivered", timedelta(days=50)))
    done = cli(*PRUNE, *options)
    assert (done.code, words in done.out + done.err) == (code, True), done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it_after_the_batch_under_way(cli: Cli, ledger: sa.Engine, number: signal.Signals) -> None:
    remember(ledger, *(("delivered", timedelta(days=91, seconds=second)) for second in range(1500)))
    before = signal.getsignal(number)
    with at_the_first_batch(lambda: os.kill(os.getpid(), number)):
        done = cli(*PRUNE)
    assert done.code == 3
    assert done.out.splitlines() == [
        "1,000 settled events older than 90 days were deleted from the ledger",
        f"received {number.name}; more events may be left, run the command again",
    ]
    assert len(remembered(ledger)) == 500
    assert signal.getsignal(number) is before
