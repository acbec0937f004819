"""The page's share of the API server, so that it never delays Airflow's own requests.

Airflow's API server has one thread pool for everything. The page has its own few threads, with a short queue, and a limit per
user. When all are taken, further requests are refused immediately.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

#: The most answers at the same time in one process of the API server.
AT_ONCE = 3
#: The most waiting requests.
WAITING = 6
#: The most requests of one user, running and waiting.
PER_USER = 2
#: Seconds after which a waiting request gives up.
PATIENCE = 5.0
#: Seconds after which a refused user may try again.
RETRY_AFTER_S = 5

_FULL = "Too many people are looking at deliveries just now"
_T = TypeVar("_T")


class PageFull(Exception):
    """All places are taken. The message says whether by this user."""


class Budget:
    """Places for answers. A place is taken until its work has ended, even if the client has left.

    :param clock: seconds, from any start.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        per_user: int = PER_USER,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = at_once + waiting
        self._per_user = per_user
        self._patience = patience
        self._clock = clock
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="adjust-page")
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def taken(self) -> int:
        """The number of running and waiting requests."""
        with self._lock:
            return self._taken.total()

    def refuse_if_full(self) -> None:
        """Refuse a request that could not be answered, before any work on it.

        :raises PageFull: all places are taken.
        """
        if self.taken() >= self._most:
            raise PageFull(_FULL)

    async def run(self, user_id: str, work: Callable[[], _T]) -> _T:
        """Do the work in one of the page's threads.

        :raises PageFull: all places are taken, or all of this user, or the request has waited for too long.
        """
        self._take(user_id)
        too_late = self._clock() + self._patience

        def in_time() -> _T:
            if self._clock() > too_late:
                raise PageFull(_FULL)
            return work()

        try:
            future: Future[_T] = self._threads.submit(contextvars.copy_context().run, in_time)
        except BaseException:
            self._leave(user_id)
            raise
        # If this request is cancelled, its work is, too, unless it has begun; then its place is taken until it ends.
        future.add_done_callback(lambda _: self._leave(user_id))
        return await asyncio.wrap_future(future)

    def _take(self, user_id: str) -> None:
        with self._lock:
            if self._taken[user_id] >= self._per_user:
                raise PageFull(f"You have {self._per_user} requests under way")
            if self._taken.total() >= self._most:
                raise PageFull(_FULL)
            self._taken[user_id] += 1

    def _leave(self, user_id: str) -> None:
        with self._lock:
            self._taken[user_id] -= 1
            self._taken += Counter()  # forgets those who have none
