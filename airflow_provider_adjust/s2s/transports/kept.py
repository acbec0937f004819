"""Kept connections: detect closed ones, and decide whether to keep any for the next request.

A request on a connection that the server has closed gets no answer, and it is not known whether it was processed. So closed
connections are not used. That is not enough for a server that closes each connection after its answer without announcing it:
the next request may be written before the close arrives. So the first connection is watched after its answer, and again after
each connection that the server closed.
"""

from __future__ import annotations

import os
import select

#: How long the first connection is watched, in seconds. A server that closes after its answer does so immediately.
_WATCH_SECONDS = 0.02
#: How long no connection is kept after one was found closed, in seconds: the first time, and at most. It doubles each time,
#: until connections have stayed open for the longest time. libcurl drops closed connections once a second.
_FIRST_PAUSE = 1.1
_LONGEST_PAUSE = 60.0
#: Linux reports a close even with unread data; elsewhere only a hang-up, which is always reported.
_ENDED = getattr(select, "POLLRDHUP", 0)
#: On Linux the cost does not grow with the number of watched sockets.
_Watch, _units_a_second = (select.epoll, 1) if hasattr(select, "epoll") else (select.poll, 1000)


class Keeping:
    """Whether connections are kept for the next request. Times are monotonic seconds from the caller."""

    def __init__(self) -> None:
        #: Whether a connection stayed open after its answer.
        self.is_proven = False
        self._nothing_until = float("-inf")
        self._pause = _FIRST_PAUSE
        self._proven_at = float("inf")

    def is_allowed(self, now: float) -> bool:
        """Whether a connection may be kept, at least to watch it."""
        return now >= self._nothing_until

    @property
    def watch_seconds(self) -> float:
        """How long a kept connection is watched before it is used again."""
        return 0.0 if self.is_proven else _WATCH_SECONDS

    def stood(self, now: float) -> None:
        """Record that a watched connection is still open."""
        if not self.is_proven:
            self.is_proven = True
            self._proven_at = now

    def ended(self, now: float) -> None:
        """Record that the server closed a kept connection, or that a request on one got no answer. Counts once for all."""
        if self.is_proven and now - self._proven_at > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        self.is_proven = False
        if self.is_allowed(now):
            self._nothing_until = now + self._pause
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)


class WatchedSockets:
    """Sockets of kept connections, which other code may close at any time."""

    def __init__(self) -> None:
        self._watch = _Watch()
        self._inodes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._inodes)

    def add(self, descriptor: int) -> None:
        if (inode := _inode(descriptor)) is not None:
            self._inodes[descriptor] = inode
            self._watch.register(descriptor, _ENDED)

    def any_ended(self, seconds: float) -> bool:
        """Whether the server closes one of them within this time."""
        while ready := self._watch.poll(seconds * _units_a_second):
            for descriptor, _ in ready:
                self._watch.unregister(descriptor)
                # It was closed on this side, and its number may now belong to another file.
                if self._inodes.pop(descriptor) == _inode(descriptor):
                    return True
        return False


def _inode(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None
