"""The events of one delivery as they are read: a few at a time, and to the end or to the first error."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_adjust.s2s.receipts import Receipt
from airflow_provider_adjust.s2s.schedule import Job


class Source:
    """Reads a stream of events and of receipts of rows that are none.

    An error of the stream ends the reading. It is kept, since what was read before it is to be delivered first.
    """

    def __init__(self, stream: Iterable[Job | Receipt]) -> None:
        self._items = iter(stream)
        self.exhausted = False
        self.error: Exception | None = None

    def read(self) -> Job | Receipt | None:
        """The next item; None when there is none."""
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
