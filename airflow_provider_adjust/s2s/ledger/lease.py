"""The lease of a try: while it is renewed, no other try can take over its claims.

The database's clock decides when it has expired; the worker's monotonic clock, until when it certainly has not.
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

#: Seconds for which a lease is valid after its last renewal. A try sends nothing in the last part of an unrenewed lease, which
#: is as long as a request may take.
LEASE = 90.0
_columns = tries.c


class Lease:
    """A try that is recorded as running, and the thread that renews its lease.

    :param writer: runs the writes in sequence.
    """

    def __init__(self, engine: sa.Engine, task: TaskInstanceId, seconds: float, writer: Executor) -> None:
        self._engine = engine
        self._seconds = seconds
        self._writer = writer
        #: The longest time of a request, in seconds.
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
        """Renew the lease, unless another try has ended this one; read the other members of the rate group."""
        # Taken before the query, since the database may read its clock at any time after that.
        asked_at = time.monotonic()

        def work() -> list[float] | None:
            with self._engine.begin() as connection:
                return renew(connection, self.try_id, self._seconds, self._rate_group)

        with suppress(Exception):  # without a renewal the lease expires, which ends the sending
            group = retry_on_conflict(work)
            if group is None:
                self._is_lost = True
            else:
                self._valid_until = asked_at + self._seconds
                self._share.see(group, asked_at=asked_at, now=time.monotonic())

    def join(self, rate_group: str) -> None:
        """Share a limit with the other tries of the group, if there is one. The ledger already lists this try in it."""
        self._rate_group = rate_group
        if rate_group:
            self._every = min(self._every, BEAT)
            self._woken.set()

    def rate_share(self) -> float:
        """The share of the group's limit that this try may use now, from 0 to 1; 1 without a group."""
        return self._share.at(time.monotonic()) if self._rate_group else 1.0

    def may_send(self, *, patience: float) -> bool:
        """Whether a request that is sent now will end before another try may take over its claim.

        :param patience: seconds for which an expiring lease may still be renewed.
        :raises LedgerUnavailable: the lease is lost, or was not renewed for longer than that.
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
        """Stop renewing. The lease expires, unless the try is ended."""
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
    """Wait while an earlier try of the task instance may still be running; return the seconds waited.

    Most likely it was killed, and its lease expires. If the lease is renewed instead, both tries run, and the earlier one
    keeps its claims.

    :param on_wait: called before the wait, with the remaining seconds of the lease.
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
