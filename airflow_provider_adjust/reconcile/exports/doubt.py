"""Settle events in doubt by exports: whether Adjust has them or not.

A line proves that the event was recorded. A missing line is proof only if the export is complete: every hour in which the
event could have been processed has its files, all their lines could be read, they give event ids for this event token, no line
without a known id may be the event, and the files had time to be uploaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from airflow_provider_adjust.reconcile.exports.join import Compared
from airflow_provider_adjust.reconcile.exports.window import HOUR, hour_of

TOO_RECENT = "they were sent less than settle_for ago"
NO_FILE = "an hour in which they may have been processed has no file, or one that is damaged"
MAY_BE_IT = "a line without an event id, or with an unknown one, has their time and amount"
NO_LINES = "the exports have no line with an id of their event token"
#: The longest time from sending to processing an event, and the largest error of the ledger's clock.
_PROCESSING = timedelta(minutes=5)
NOT_ASKED = "settle_for is None, so nothing is settled"
CHANGED = "another task has them now, or settled them meanwhile"


class Settling(NamedTuple):
    """The coverage of the exports, to judge missing events.

    ``settled_before`` is in Unix seconds; ``hours`` have complete files of the definition; ``scopes`` have lines with ids in
    files of these definitions. A file of another definition, such as one of installs, is not evidence.
    """

    settled_before: int
    hours: Collection[tuple[datetime, str]]
    scopes: Mapping[int, Collection[str]]


def why_in_doubt(each: Compared, settling: Settling) -> str:
    """Why an event that is missing in the exports stays in doubt; empty if Adjust certainly lacks it."""
    assert each.sent_from is not None and each.settled_at is not None  # noqa: S101, PT018 - it was sent
    if each.settled_at > settling.settled_before:
        return TOO_RECENT
    definitions = settling.scopes.get(each.scope)
    if not definitions:
        return NO_LINES
    for hour in _hours(each.sent_from, each.settled_at):
        if not any((hour, definition) in settling.hours for definition in definitions):
            return NO_FILE
    return MAY_BE_IT if each.may_be_another_line else ""


def _hours(first: int, last: int) -> Iterator[datetime]:
    """The hours in which the event may have been processed."""
    hour = hour_of(datetime.fromtimestamp(first, UTC) - _PROCESSING)
    end = datetime.fromtimestamp(last, UTC) + _PROCESSING
    while hour <= end:
        yield hour
        hour += HOUR
