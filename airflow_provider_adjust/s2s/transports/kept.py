"""Connections that are kept open for the next request: whether they still stand, and whether to keep any.

A request that is written to a connection which the server has closed gets no answer, and nobody can say whether it was
carried out. So no such connection is used. That alone is not enough for a server that closes each connection after its
answer without saying so: the next request may be written before the end arrives. Whether a server is of that kind is
found out on its first answer, and again after each connection that it ended.
"""

from __future__ import annotations

import os
import select

#: How long the first connection is watched, in seconds. A server that closes after its answer does so at once.
_WATCH_SECONDS = 0.02
#: How long nothing is kept after a connection was found closed, in seconds: the first time, and at most; it doubles each
#: time, until connections have stood for the longest. libcurl drops closed connections once a second.
_FIRST_PAUSE = 1.1
_LONGEST_PAUSE = 60.0
#: Linux reports the end although there is more to read before it; elsewhere a hang-up, which is always reported, must do.
_ENDED = getattr(select, "POLLRDHUP", 0)
#: Linux looks only at the sockets of which there is something to report, however many are watched.
_Watch, _units_a_second = (select.epoll, 1) if hasattr(select, "epoll") else (select.poll, 1000)


class Keeping:
    """Whether connections are kept for the next request. Times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        #: A connection has been seen to stand after its answer.
        self.is_proven = False
        self._nothing_until = float("-inf")
        self._pause = _FIRST_PAUSE
        self._proven_at = float("inf")

    def is_allowed(self, now: float) -> bool:
        """Whether a connection may be kept, if only to watch it."""
        return now >= self._nothing_until

    @property
    def watch_seconds(self) -> float:
        """How long a kept connection is watched before it is used again."""
        return 0.0 if self.is_proven else _WATCH_SECONDS

    def stood(self, now: float) -> None:
        """A connection that was watched still stands."""
        if not self.is_proven:
            self.is_proven = True
            self._proven_at = now

    def ended(self, now: float) -> None:
        """The server has closed a kept connection, or a request got no answer on one. Counts once for all of them."""
        if self.is_proven and now - self._proven_at > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        self.is_proven = False
        if self.is_allowed(now):
            self._nothing_until = now + self._pause
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)


class WatchedSockets:
    """Sockets of kept connections, which somebody else may close at any time."""

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
        """Whether the other end of one of them closes within that time."""
        while ready := self._watch.poll(seconds * _units_a_second):
            for descriptor, _ in ready:
                self._watch.unregister(descriptor)
                # Closed on this side since, the number may by now be another file's.
                if self._inodes.pop(descriptor) == _inode(descriptor):
                    return True
        return False


def _inode(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None
