"""How rows are read, as one value.

Each option is written once, here: its type, its default and its help. The operators, the command line, the tables in the docs
and the class's docstring read it from the fields. This module imports almost nothing, because Airflow's command line loads it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal, TypeVar

OnBadOptional = Literal["refuse", "leave_out"]
Amount = Decimal | float | str
#: Of ``ignore_columns``: every column that neither Adjust nor another option knows.
EVERY_UNKNOWN = "*"
MaxRevenue = Amount | Mapping[str, Amount]

_Options = TypeVar("_Options", bound=type[Any])


def option(
    default: Any = None, *, help: str, metavar: str | None = None, templated: bool = False, argument: bool = True
) -> Any:
    """A field of an options class.

    :param default: the default value.
    :param help: its meaning; a sentence for the docs and the command line, with code between backticks.
    :param metavar: the name of the value in the command line's help.
    :param templated: whether an operator renders templates in it.
    :param argument: whether operators and the command line take it as an argument. Other fields are for Python code only.
    """
    facts = {"help": help, "metavar": metavar, "templated": templated, "argument": argument}
    return field(default=default, metadata=facts)


def documented(options: _Options) -> _Options:
    """Add the help of each field to the docstring of an options class, where code has two backticks."""
    params = [f":param {each.name}: {each.metadata['help']}.".replace("`", "``") for each in fields(options)]
    options.__doc__ = "\n".join([inspect.cleandoc(options.__doc__ or ""), "", *params])
    return options


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """How the rows of one delivery are read. The operators take each field as an argument.

    .. code-block:: python

        from airflow_provider_adjust.s2s import RowOptions

        RowOptions(event_token="f0ob4r", id_field="order_id", column_map={"gaid": "gps_adid"})
    """

    endpoint: str = option(
        "event",
        help="the Adjust endpoint to send to: `event`, `ad_revenue` (revenue from ads) or `third_party_sharing` (opt-outs)",
        metavar="NAME",
    )
    event_token: str | None = option(help="the event token for rows that name none", metavar="TOKEN", templated=True)
    event_tokens: Mapping[str, str] | None = option(
        help="event tokens by name; the `event` column of a row holds the name", metavar="NAME=TOKEN", templated=True
    )
    app_token: str | None = option(
        help="the app token for rows that name none; overrides the connection's", metavar="TOKEN", templated=True
    )
    environment: str | None = option(
        help="`production` or `sandbox`, for rows that name none; overrides the connection's",
        metavar="NAME",
        templated=True,
    )
    column_map: Mapping[str, str] | None = option(
        help="Adjust's parameter names by column, such as `gps_adid` for `gaid`", metavar="COLUMN=PARAMETER"
    )
    id_field: str | Sequence[str] | None = option(
        help="the column that identifies a row, such as the order number, or several columns that do so together; they "
        "are not sent. Without it, the event id is a digest of the parameters that are sent",
        metavar="COLUMN",
    )
    event_id_param: str | None = option(
        "event_id",
        help="the `callback_params` key for the event id, so that Adjust's raw data exports identify each event; an empty "
        "key, or `None` in Python, does not send it",
        metavar="KEY",
    )
    timezone: str = option("UTC", help="IANA name of the time zone of times without an offset", metavar="ZONE")
    extra_params: Sequence[str] = option(
        (), help="parameters to send although the provider does not know them", metavar="NAME"
    )
    ignore_columns: str | Sequence[str] = option(
        (),
        help="columns to leave out, by name; `*` leaves out every column that neither Adjust nor another option knows",
        metavar="COLUMN",
    )
    max_revenue: MaxRevenue | None = option(
        help="the largest amount to send, such as 500, or one for each currency, such as `EUR=500`; a row above it is refused",
        metavar="AMOUNT",
    )
    on_bad_optional: OnBadOptional = option(
        "refuse",
        help="what to do if an optional parameter has an invalid value: `refuse` the row, or `leave_out` the parameter and "
        "count the row under `adjusted`. An invalid time, token or amount always refuses the row",
    )
    escape_char: str | None = option(
        help="the escape character of a CSV file, such as a backslash; a quote states that quotes are doubled and that a "
        "backslash is text",
        metavar="CHARACTER",
    )

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns that ``id_field`` names; none without it."""
        return (self.id_field,) if isinstance(self.id_field, str) else tuple(self.id_field or ())

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """What ``ignore_columns`` names."""
        return (self.ignore_columns,) if isinstance(self.ignore_columns, str) else tuple(self.ignore_columns or ())

    @property
    def column_names(self) -> frozenset[str]:
        """Every name that the options give to a column of the source."""
        named = (*self.id_columns, *(self.column_map or ()), *self.extra_params, *self.ignored_columns)
        return frozenset({*named, "event"} - {EVERY_UNKNOWN})
