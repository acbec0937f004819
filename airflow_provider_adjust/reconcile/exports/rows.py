"""The rows of a query for the sent events, for a comparison without a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_adjust.reconcile.exports.join import Sent, Status
from airflow_provider_adjust.reconcile.exports.values import MICROS
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.times import read_time
from airflow_provider_adjust.s2s.events.values import is_missing, scalar_text
from airflow_provider_adjust.s2s.ledger.records import event_key
from airflow_provider_adjust.s2s.redaction import quote

#: The columns of a row.
QUERY_COLUMNS = frozenset({"event_id", "created_at", "revenue", "currency", "event_token"})


def read_row(row: Mapping[str, Any], zone: tzinfo, window: Window, event_tokens: Sequence[str]) -> tuple[str, Sent]:
    """A row's event token, and its event as Adjust should have booked it.

    :param zone: of times without an offset.
    :param event_tokens: the event tokens to compare; rows without one have the first.
    :raises AdjustConfigurationError: a value is missing or cannot be used.
    """
    event_id = "" if is_missing(row.get("event_id")) else (scalar_text(row["event_id"]) or "").strip()
    if not event_id:
        raise AdjustConfigurationError("the sql returns a row without event_id; select the id that was sent")
    token = event_tokens[0] if is_missing(row.get("event_token")) else str(row["event_token"])
    if token not in event_tokens:
        raise AdjustConfigurationError(f"the sql returns event token {quote(token)}; name it in event_token")
    if is_missing(row.get("created_at")):
        raise AdjustConfigurationError(f"the sql returns event {quote(event_id)} without created_at; select its time")
    try:
        occurred_at = read_time("created_at", row["created_at"], zone)
    except InvalidEvent as error:
        raise AdjustConfigurationError(f"event {quote(event_id)} of the sql: {error.detail}") from None
    if not window.start <= occurred_at < window.end:
        raise AdjustConfigurationError(
            f"the sql returns event {quote(event_id)} of {occurred_at.isoformat()}, which is outside the window {window}; "
            "make both cover the same time"
        )
    # Without the column, amounts are not compared.
    micros = _micros(row["revenue"], event_id) if "revenue" in row else None
    seconds = int(occurred_at.timestamp())
    currency = None if is_missing(row.get("currency")) else str(row["currency"]).strip().upper()
    return token, Sent(0, event_key(event_id), seconds, micros, currency, Status.DELIVERED, seconds, seconds)


def _micros(value: Any, event_id: str) -> int:
    if is_missing(value):
        return 0
    try:
        amount = Decimal(str(value))
        if amount.is_finite() and not isinstance(value, bool):
            return round(amount * MICROS)
    except InvalidOperation:
        pass
    raise AdjustConfigurationError(f"event {quote(event_id)} of the sql has revenue {quote(str(value))}; give a number")
