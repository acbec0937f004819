"""Mark events that share a second with another event of one of their lanes.

The Device API returns the time of a device's last event of a token, in whole seconds, without the event's identity. So it
cannot say which of two events of a lane in one second is recorded. Such events are found in the input, which has all of them,
rather than in one process's memory of its deliveries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.events.event import Lane
from airflow_provider_adjust.s2s.events.job import Job

#: The most items of one second of a stream that are held back, so that memory does not grow with the stream.
MOST_HELD_BACK = 10_000


def mark_shared_seconds(
    items: Iterable[Job | Receipt], most_held_back: int | None = MOST_HELD_BACK
) -> Iterator[Job | Receipt]:
    """The same items in the same order, each passed on after all items of its second were read.

    If a second has too many items, or reading ended in an error, every event of the second is marked.

    :param items: in time order.
    """
    held_back: list[Job | Receipt] = []
    second: int | None = None
    is_too_full = False
    try:
        for item in items:
            if isinstance(item, Job) and (its_second := int(item.event.occurred_at.timestamp())) != second:
                yield from _marked(held_back)
                held_back, second, is_too_full = [], its_second, False
            if second is None:
                yield item  # a row without a time comes before all others
                continue
            held_back.append(item)
            if is_too_full or len(held_back) == most_held_back:
                is_too_full = True
                yield from map(_shared, held_back)
                held_back = []
    except Exception:
        yield from map(_shared, held_back)
        raise
    yield from _marked(held_back)


def _marked(items: list[Job | Receipt]) -> Iterator[Job | Receipt]:
    """Mark the items of one second."""
    events: Counter[Lane] = Counter()
    for item in items:
        if isinstance(item, Job):
            events.update(item.event.lanes)
    for item in items:
        is_shared = isinstance(item, Job) and any(events[lane] > 1 for lane in item.event.lanes)
        yield _shared(item) if is_shared else item


def _shared(item: Job | Receipt) -> Job | Receipt:
    return replace(item, shares_second=True) if isinstance(item, Job) else item
