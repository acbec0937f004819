"""Lists of values as one parameter, for Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

#: A parameter of an UPDATE must not have the name of a column.
_EACH = "each_"


class _AsText(sa.types.UserDefinedType[Any]):
    """A list, sent in Postgres' own notation. Drivers convert a list value by value, which takes three times as long.

    It is not a kind of text for SQLAlchemy, which tells Postgres the type of a text through psycopg 3. Postgres would then
    convert the text to a list for each row that it compares, instead of once.
    """

    cache_ok = True

    def bind_processor(self, dialect: object) -> Callable[[Any], str]:
        return as_text


def array(name: str, column: sa.Column[Any], values: Sequence[Any] | None = None) -> sa.ColumnElement[Any]:
    """A parameter that takes a list of the column's values.

    :param values: the list; None to give it when the statement is executed.
    """
    parameter = sa.bindparam(name, values, type_=_AsText(), required=values is None)
    # As TEXT, a value compares by the column's own collation.
    of_type = sa.Text() if isinstance(column.type, sa.String) else column.type
    return sa.cast(parameter, postgresql.ARRAY(of_type))


def unnested(columns: Iterable[sa.Column[Any]]) -> sa.TableValuedAlias:
    """Lists of the columns' values as a table with these columns. ``lists`` names the parameters."""
    given = list(columns)
    arrays = [array(_EACH + each.name, each) for each in given]
    return sa.func.unnest(*arrays).table_valued(*(each.name for each in given)).render_derived()


def lists(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The parameters of ``unnested``: the rows' values by column. There is at least one row."""
    return {_EACH + name: [row[name] for row in rows] for name in rows[0]}


def as_text(values: Iterable[Any]) -> str:
    """The values in the notation of Postgres' arrays (PostgreSQL manual, array input and output syntax)."""
    return "{" + ",".join(["NULL" if each is None else _quoted(str(each)) for each in values]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
