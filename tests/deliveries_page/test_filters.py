"""The filters in an address of the page: which are valid, and which days they select."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_adjust.deliveries_page.filters import MAX_DAYS, Filters

TODAY = date(2026, 5, 31)


@pytest.mark.parametrize(
    ("given", "days"),
    [
        ({}, (date(2026, 5, 2), TODAY)),
        ({"last_day": "2026-03-31"}, (date(2026, 3, 2), date(2026, 3, 31))),
        ({"first_day": "2026-05-20"}, (date(2026, 5, 20), TODAY)),
        ({"first_day": "2025-01-01"}, (date(2025, 1, 1), date(2025, 4, 2))),
        ({"first_day": "2026-07-01"}, (date(2026, 7, 1), date(2026, 7, 1))),
        ({"first_day": "2026-03-01", "last_day": "2026-05-31"}, (date(2026, 3, 1), date(2026, 5, 31))),
        # The events of a run may be of any day.
        ({"run_id": "manual__1"}, (None, None)),
        ({"run_id": "manual__1", "first_day": "2026-05-20"}, (date(2026, 5, 20), TODAY)),
    ],
)
def test_the_days_are_bounded(given: dict[str, str], days: tuple[date | None, date | None]) -> None:
    filters = Filters.model_validate(given).with_default_days(TODAY)
    assert (filters.first_day, filters.last_day) == days
    if filters.first_day and filters.last_day:
        assert (filters.last_day - filters.first_day).days < MAX_DAYS


@pytest.mark.parametrize(
    "given",
    [
        {"first_day": "2026-05-02", "last_day": "2026-05-01"},
        {"first_day": "2026-03-01", "last_day": "2026-06-01"},
        {"first_day": "yesterday"},
        {"last_day": "0001-01-01"},
        {"last_day": "9999-12-31"},
        {"run_id": "a\x00b"},
        {"event_token": "f0ob4r' OR '1'='1"},
        {"event_token": "a" * 65},
        {"dag_id": "a" * 251},
        {"status": "lost"},
        {"map_index": "-2"},
        {"map_index": "1e3"},
        {"after": "a" * 4001},
        {"order_by": "event_id"},
    ],
    ids=repr,
)
def test_invalid_filters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Filters.model_validate(given)


def test_an_empty_field_of_a_form_does_not_filter() -> None:
    assert Filters.model_validate(dict.fromkeys(Filters.model_fields, "")) == Filters()


def test_an_address_keeps_the_filters_but_for_the_changes_and_begins_on_the_first_page() -> None:
    filters = Filters(dag_id="shop", status="rejected", first_day=TODAY, after="WzFd")
    assert filters.query(status=None, map_index=0) == {"dag_id": "shop", "first_day": "2026-05-31", "map_index": "0"}
