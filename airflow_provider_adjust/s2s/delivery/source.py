"""The source that a delivery reads."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.events.job import Job


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
