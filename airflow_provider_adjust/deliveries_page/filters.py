"""The filters and the cursor in a URL of the page. Both are untrusted, so both are checked."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

#: Days that are shown without a filter on days.
DEFAULT_DAYS = 30
#: The most days, so that one answer does not take too long.
MAX_DAYS = 92

#: ``sending`` is shown as ``in_doubt`` once the lease of its try has run out: the worker was lost.
Status = Literal["delivered", "duplicate", "rejected", "invalid", "expired", "in_doubt", "sending", "held"]

_empty_as_none = BeforeValidator(lambda value: None if value == "" else value)
#: 250 is Airflow's own limit. Postgres stores no NUL in a text.
Name = Annotated[str, StringConstraints(max_length=250, pattern=r"^[^\x00]*$")]
_Name = Annotated[Name | None, _empty_as_none]
_Token = Annotated[Annotated[str, StringConstraints(max_length=64, pattern="^[A-Za-z0-9_]+$")] | None, _empty_as_none]
#: An event's id, as long as the ledger keeps one.
_EventId = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=255, pattern=r"^[^\x00]*$")] | None,
    BeforeValidator(lambda value: None if isinstance(value, str) and not value.strip() else value),
]
_Unit = Annotated[Annotated[str, StringConstraints(pattern="^(events|[A-Z]{3})$")] | None, _empty_as_none]
_Day = Annotated[Annotated[date, Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))] | None, _empty_as_none]
#: The sort key of the last row of a page, after which the next page begins. Without event ids, since request logs contain it.
Cursor = tuple[str | int | datetime, ...]


class InvalidCursor(ValueError):
    """The parameter ``after`` is not a cursor of this list."""


class Filters(BaseModel):
    """The filters of a page. All are optional; a field that stays None does not filter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ledger: _Name = None
    dag_id: _Name = None
    run_id: _Name = None
    task_id: _Name = None
    map_index: Annotated[Annotated[int, Field(ge=-1, le=2**31 - 1)] | None, _empty_as_none] = None
    app_token: _Token = None
    event_token: _Token = None
    environment: _Token = None
    status: Annotated[Status | None, _empty_as_none] = None
    reason: _Token = None
    event_id: _EventId = None
    #: The values of the chart: events, or the revenue in a currency.
    unit: _Unit = None
    first_day: _Day = None
    last_day: _Day = None
    after: Annotated[Annotated[str, StringConstraints(max_length=4000)] | None, _empty_as_none] = None

    @model_validator(mode="after")
    def _check_days(self) -> Filters:
        if self.first_day and self.last_day:
            if self.first_day > self.last_day:
                raise ValueError("From is after To")
            if self.last_day - self.first_day >= timedelta(days=MAX_DAYS):
                raise ValueError(f"At most {MAX_DAYS} days can be shown; choose fewer")
        return self

    @property
    def is_about_runs(self) -> bool:
        """Whether one task or one kind of event is selected, so that the last nights are not shown."""
        chosen = (self.task_id, self.map_index, self.app_token, self.event_token, self.status, self.reason)
        return any(each is not None for each in chosen)

    def with_default_days(self, today: date) -> Filters:
        """The same filters with both days set, except for a single run or event, which may have events of any day."""
        first, last = self.first_day, self.last_day
        if first is None and last is None and (self.run_id or self.event_id) is not None:
            return self
        if last is None:
            last = today if first is None else min(today, first + timedelta(days=MAX_DAYS - 1))
            last = max(last, first or last)
        if first is None:
            first = last - timedelta(days=DEFAULT_DAYS - 1)
        return self.model_copy(update={"first_day": first, "last_day": last})

    def query(self, **changes: Any) -> dict[str, str]:
        """The query parameters for these filters with some changes, without the cursor: a link begins on the first page."""
        # Not by pydantic, since after a mistake the values are those of the URL, of any type.
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "after"} | changes
        return {name: str(value) for name, value in values.items() if value is not None}


def encode_cursor(cursor: Cursor) -> str:
    """The cursor as a query parameter."""
    text = json.dumps([part.isoformat() if isinstance(part, datetime) else part for part in cursor])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(after: str, kinds: tuple[type, ...]) -> Cursor:
    """Read a cursor that ``encode_cursor`` wrote.

    :raises InvalidCursor: the text is not a cursor with parts of these kinds.
    """
    try:
        parts = json.loads(base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True))
        if len(parts) != len(kinds):
            raise ValueError(f"{len(parts)} parts")
        return tuple(_read(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor("after: this is not a cursor of this list") from error


def _read(part: Any, kind: type) -> str | int | datetime:
    if kind is datetime:
        return datetime.fromisoformat(part)
    if kind is str and isinstance(part, str) and "\x00" not in part:
        part.encode()  # refuses half of a surrogate pair
        return part
    if kind is int and type(part) is int and abs(part) < 2**63:
        return part
    raise ValueError("a part of another kind")
