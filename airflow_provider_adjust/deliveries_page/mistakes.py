"""Mistakes in a URL or the form, shown at their fields. The form keeps the entered values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from airflow_provider_adjust.deliveries_page.filters import Filters

#: Visible fields of the form. Invalid values of other fields are dropped, since the user could not correct them.
SHOWN = ("ledger", "dag_id", "environment", "event_token", "first_day", "last_day", "event_id", "status")
#: The key of mistakes in the URL as a whole.
WHOLE = ""
_RULES = {
    "event_token": "Letters, digits and underscores only",
    "environment": "Letters, digits and underscores only",
    "first_day": "Give a day between 2000 and 2199, such as 2026-11-28",
    "last_day": "Give a day between 2000 and 2199, such as 2026-11-28",
    "event_id": "At most 255 characters",
    "dag_id": "At most 250 characters",
    "ledger": "At most 250 characters",
    "status": "Choose one of the list",
}


def problems(error: RequestValidationError) -> dict[str, str]:
    """The mistakes by field."""
    found: dict[str, str] = {}
    for problem in error.errors():
        place = [str(part) for part in problem["loc"][1:]]
        if not place:  # both days together
            found["last_day"] = str(problem.get("ctx", {}).get("error", problem["msg"]))
        elif place[0] in _RULES:
            found[place[0]] = _RULES[place[0]]
        elif place[0] in Filters.model_fields:
            found[WHOLE] = f"The address has a value of {place[0]} that cannot be used; it was left out."
        else:
            found[WHOLE] = "The address has a parameter that this page does not know; it was left out."
    return found


def entered(given: Mapping[str, Any], wrong: Mapping[str, str]) -> Filters:
    """The entered values, unchecked, without invalid values of hidden fields."""
    hidden_and_wrong = WHOLE in wrong
    names = SHOWN if hidden_and_wrong else [name for name in Filters.model_fields if name != "after"]
    return Filters.model_construct(**{name: given[name] for name in names if given.get(name)})
