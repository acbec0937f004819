"""The source that a delivery reads, and how far it is read ahead of the answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.events.job import Job

#: Events read ahead per request in flight: enough that busy devices do not starve others.
_BUFFERED_PER_REQUEST = 32
#: The most events read ahead, so that a checkpoint can list them all.
_MOST_BUFFERED = 16_384
#: The least events read between two polls, and the requests in flight for each one more: a poll looks at every request.
_READ_AT_ONCE, _REQUESTS_PER_READ = 32, 16


class ReadAhead(NamedTuple):
    """How many events are read ahead of the answers: ``most`` in all, and ``at_once`` between two polls."""

    most: int
    at_once: int

    @classmethod
    def of(cls, max_in_flight: int) -> ReadAhead:
        """The limits for a delivery with this many requests in flight."""
        return cls(
            most=min(max_in_flight * _BUFFERED_PER_REQUEST, _MOST_BUFFERED),
            at_once=max(_READ_AT_ONCE, max_in_flight // _REQUESTS_PER_READ),
        )


class Source:
    """An iterator that keeps its error, so that the rows read before it are still delivered."""

    def __init__(self, stream: Iterable[Job | Receipt]) -> None:
        self._items = iter(stream)
        self.exhausted = False
        self.error: Exception | None = None

    def read(self) -> Job | Receipt | None:
        """The next item; None at the end or at the first error."""
        if self.exhausted:
            return None
        try:
            return next(self._items)
        except StopIteration:
            self.exhausted = True
        except Exception as error:
            self.exhausted = True
            self.error = error
        return None
