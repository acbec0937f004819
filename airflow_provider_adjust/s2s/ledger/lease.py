"""The lease of a try: as long as it is renewed, the try's claims are its own.

The database's clock decides when it has run out, the worker's monotonic clock until when it surely has not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import LedgerUnavailable
from airflow_provider_adjust.s2s.ledger.rate_group import BEAT, RateShare
from airflow_provider_adjust.s2s.ledger.schema import database_now, tries
from airflow_provider_adjust.s2s.ledger.statements import retry_on_conflict
from airflow_provider_adjust.s2s.ledger.tries import TaskInstanceId, begin_try, renew

#: How long a try's claims are its own after the last renewal, in seconds. A try that may no longer be alive sends
#: nothing in the last part of it, which is as long as a request may take.
LEASE = 90.0
_columns = tries.c


class Lease:
    """A try, written down as running, and the thread that renews its lease.

    :param writer: runs what is written, one after another.
    """

    def __init__(self, engine: sa.Engine, task: TaskInstanceId, seconds: float, writer: Executor) -> None:
        self._engine = engine
        self._seconds = seconds
        self._writer = writer
        #: Seconds that a request may take at most.
        self.longest_request = 0.0
        self._is_lost = False
        self._rate_group = ""
        self._share = RateShare()
        begun_at = time.monotonic()

        def begin() -> int:
            with engine.begin() as connection:
                return begin_try(connection, task, seconds)

        self.try_id = retry_on_conflict(begin)
        self._valid_until = begun_at + seconds
        self._every = seconds / 6
        self._is_closing = False
        self._woken = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="adjust-ledger-heartbeat", daemon=True)
        self._heart.start()

    def _beat(self) -> None:
        while True:
            self._woken.wait(self._every)
            self._woken.clear()
            if self._is_closing:
                return
            with suppress(RuntimeError):  # the writer was shut down meanwhile
                self._writer.submit(self.renew)

    def renew(self) -> None:
        """Renew the lease, unless another try has ended this one; see who else is in the rate group."""
        # From before the question to the database: its clock may have been read any time after.
        asked_at = time.monotonic()

        def work() -> list[float] | None:
            with self._engine.begin() as connection:
                return renew(connection, self.try_id, self._seconds, self._rate_group)

        with suppress(Exception):  # without a renewal the lease runs out, and sending ends by that
            group = retry_on_conflict(work)
            if group is None:
                self._is_lost = True
            else:
                self._valid_until = asked_at + self._seconds
                self._share.see(group, asked_at=asked_at, now=time.monotonic())

    def join(self, rate_group: str) -> None:
        """Share a limit with the other tries of the group, if there is one; the ledger has this one there already."""
        self._rate_group = rate_group
        if rate_group:
            self._every = min(self._every, BEAT)
            self._woken.set()

    def rate_share(self) -> float:
        """The part of the group's limit that this try may use now, from 0 to 1; all of it without a group."""
        return self._share.at(time.monotonic()) if self._rate_group else 1.0

    def may_send(self, *, patience: float) -> bool:
        """Whether a request that is sent now ends before another try may take over its claim.

        :param patience: seconds for which a lease that runs out may still be renewed.
        :raises LedgerUnavailable: it is lost, or was not renewed for longer than that.
        """
        if self._is_lost:
            raise LedgerUnavailable(
                "another try has taken over this one's claims, since it did not renew its lease in time (the worker was "
                "suspended, or could not reach the ledger); nothing more was sent"
            )
        left = self._valid_until - time.monotonic() - min(self.longest_request, self._seconds / 2)
        if left < -patience:
            raise LedgerUnavailable(
                "the ledger could not be reached to renew the lease of this try; nothing more was sent"
            )
        return left > 0

    def close(self) -> None:
        """Renew no more. The lease runs out, unless the try is ended."""
        self._is_closing = True
        self._woken.set()
        self._heart.join()


def wait_for_earlier_tries(
    engine: sa.Engine,
    task: TaskInstanceId,
    lease: float,
    *,
    on_wait: Callable[[float], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait while an earlier try of the task instance may still live; return the seconds waited.

    It was killed, most likely: then its lease runs out. If it is still renewed after that, both run, and its claims stay
    its own.

    :param on_wait: told, before the waiting, how many seconds are left of the lease.
    """
    waited = 0.0
    while True:
        with engine.connect() as connection:
            now = database_now(connection)
            alive = (*task.same_task, _columns.ended_at.is_(None), _columns.lease_until > now)
            until = connection.scalar(sa.select(sa.func.max(_columns.lease_until)).where(*alive))
        if until is None or waited > 1.5 * lease:
            return waited
        left = (until - now).total_seconds()
        if not waited:
            on_wait(left)
        pause = min(1.0, left + 0.01)
        sleep(pause)
        waited += pause
