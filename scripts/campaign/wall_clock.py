"""A wall clock that jumps. A test cannot set the machine's clock, so the process reads a shifted time."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo


def let_the_wall_clock_jump() -> None:
    """Shift the time by half an hour, and back, after every fifty readings."""
    from airflow_provider_adjust.s2s.delivery import intake
    from airflow_provider_adjust.s2s.ledger import ledger

    readings = iter(range(sys.maxsize))
    real_time = time.time

    def ahead() -> int:
        return 1800 * (next(readings) // 50 % 2)

    class JumpingDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead())

    time.time = lambda: real_time() + ahead()
    for reader in (intake, ledger):
        reader.datetime = JumpingDatetime  # type: ignore[attr-defined]
