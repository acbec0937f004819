"""A wall clock that jumps. Nobody may set this machine's, so it is read wrongly."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo


def let_the_wall_clock_jump() -> None:
    """Half an hour forth and back, every fifty looks at it."""
    from airflow_provider_adjust.s2s.delivery import intake
    from airflow_provider_adjust.s2s.ledger import ledger

    looks = iter(range(sys.maxsize))
    real_time = time.time

    def ahead() -> int:
        return 1800 * (next(looks) // 50 % 2)

    class JumpingDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead())

    time.time = lambda: real_time() + ahead()
    for reader in (intake, ledger):
        reader.datetime = JumpingDatetime  # type: ignore[attr-defined]
