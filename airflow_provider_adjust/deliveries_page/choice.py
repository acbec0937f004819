"""What the reader of the page has chosen, out of the address: checked, and nothing of it trusted."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

#: Days that are shown when none are chosen.
DAYS = 30
#: A longer time would be more than one answer can sum up.
MOST_DAYS = 92

#: ``sending`` becomes ``in_doubt`` once its worker must have been lost.
Status = Literal["delivered", "duplicate", "rejected", "in_doubt", "sending"]

_empty_as_none = BeforeValidator(lambda value: None if value == "" else value)
#: Airflow's longest. Postgres has no text with a NUL in it.
Name = Annotated[str, StringConstraints(max_length=250, pattern=r"^[^\x00]*$")]
_Name = Annotated[Name | None, _empty_as_none]
_Token = Annotated[Annotated[str, StringConstraints(max_length=64, pattern="^[A-Za-z0-9_]+$")] | None, _empty_as_none]
_Day = Annotated[Annotated[date, Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))] | None, _empty_as_none]
Cursor = tuple[str | int | datetime, ...]


class NoSuchPlace(ValueError):
    """``after`` is nothing that a page of this list has handed out."""


class Filters(BaseModel):
    """The filters of a page, all of which may be left out. Fields that stay None do not filter."""

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
    first_day: _Day = None
    last_day: _Day = None
    after: Annotated[Annotated[str, StringConstraints(max_length=4000)] | None, _empty_as_none] = None

    @model_validator(mode="after")
    def _days_that_can_be_summed_up(self) -> Filters:
        if self.first_day and self.last_day:
            if self.first_day > self.last_day:
                raise ValueError("first_day is after last_day")
            if self.last_day - self.first_day >= timedelta(days=MOST_DAYS):
                raise ValueError(f"more than {MOST_DAYS} days were chosen")
        return self

    def with_default_days(self, today: date) -> Filters:
        """The same with both days set. Only the events of one run may be from any day."""
        first, last = self.first_day, self.last_day
        if first is None and last is None and self.run_id is not None:
            return self
        if last is None:
            last = today if first is None else min(today, first + timedelta(days=MOST_DAYS - 1))
            last = max(last, first or last)
        if first is None:
            first = last - timedelta(days=DAYS - 1)
        return self.model_copy(update={"first_day": first, "last_day": last})

    def query(self, **changes: Any) -> dict[str, str]:
        """The parameters of an address that chooses the same, but for the changes; it begins on the first page."""
        chosen = self.model_dump(exclude={"after"}) | changes
        return {name: str(value) for name, value in chosen.items() if value is not None}


def page_after(place: Cursor) -> str:
    """Where the next page begins, in a form for an address."""
    text = json.dumps([part.isoformat() if isinstance(part, datetime) else part for part in place])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def cursor_of(after: str, kinds: tuple[type, ...]) -> Cursor:
    """Read what ``page_after`` wrote.

    :raises NoSuchPlace: it is nothing that ``page_after`` wrote for a list of this kind.
    """
    try:
        parts = json.loads(base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True))
        if len(parts) != len(kinds):
            raise ValueError(f"{len(parts)} parts")
        return tuple(_read(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise NoSuchPlace("after: no page of this list begins there") from error


def _read(part: Any, kind: type) -> str | int | datetime:
    if kind is datetime:
        return datetime.fromisoformat(part)
    if kind is str and isinstance(part, str) and "\x00" not in part:
        part.encode()  # a half of a surrogate pair is no text
        return part
    if kind is int and type(part) is int and abs(part) < 2**31:
        return part
    raise ValueError("a part of another kind")
