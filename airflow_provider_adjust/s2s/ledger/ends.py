"""Write how claimed events ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.answers.outcome import Outcome
from airflow_provider_adjust.s2s.answers.receipt import Receipt
from airflow_provider_adjust.s2s.ledger.records import EventPlace
from airflow_provider_adjust.s2s.ledger.schema import STATUS_NUMBERS
from airflow_provider_adjust.s2s.ledger.statements import Numbers, Scope, delete, insert_new, is_of_try, settle_events

#: The largest value of the column of lost answers.
_MOST_COUNTED = 32_767
_SENT = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.IN_DOUBT})


def write_ends(
    connection: sa.Connection,
    numbers: Numbers,
    try_id: int,
    claimed: Iterable[tuple[EventPlace, Receipt]],
    to_row: Callable[[str, Receipt, datetime | None], dict[str, Any]],
) -> None:
    """Write the outcomes of the try's claimed events, all with the same outcome at once.

    :param to_row: the columns of an event, by its key, its receipt and the time that was sent instead of its own.
    """
    groups: dict[tuple[Scope, Outcome, str, int | None, int], dict[str, Receipt]] = defaultdict(dict)
    for place, receipt in claimed:
        end = receipt.outcome, receipt.reason, receipt.http_status, receipt.lost_answers
        groups[place.scope, *end][place.key] = receipt
    for (scope, outcome, reason, http_status, lost_answers), ended in groups.items():
        scope_id, keys = numbers.scope(scope), [*ended]
        if outcome in _SENT:
            values: dict[str, Any] = {
                "status": STATUS_NUMBERS[outcome.value],
                "reason": numbers.reason(reason),
                "http_status": http_status,
                "lost_answers": min(lost_answers, _MOST_COUNTED),
            }
            if settle_events(connection, scope_id, keys, try_id, values) < len(keys):
                # Taken over by another try; or lost, for example in a failover of the database: then written again.
                rows = [to_row(key, each, each.sent_at) for key, each in ended.items()]
                insert_new(connection, scope_id, rows, {"try_id": try_id, **values})
        else:
            # Held: it certainly did not reach Adjust, so its record is deleted.
            delete(connection, scope_id, keys, is_of_try(try_id))
