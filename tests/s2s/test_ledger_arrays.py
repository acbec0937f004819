"""Lists as Postgres reads them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_adjust.s2s.ledger.arrays import array, lists, unnested
from airflow_provider_adjust.s2s.ledger.schema import events

_COLUMNS = [events.c[name] for name in ("event_id", "content", "occurred_at", "revenue")]
#: Postgres stores neither NUL nor half a surrogate pair; the ledger makes digests of ids with them.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20) | st.sampled_from(
    ["NULL", "null", '"', "\\", '\\"', "{}", "a,b", " a ", "", "\t\n", "'", "%s", "%(each_event_id)s", ":name"]
)
_ROWS = st.fixed_dictionaries(
    {
        "event_id": _TEXTS,
        "content": st.none() | st.integers(-(2**63), 2**63 - 1),
        "occurred_at": st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),
        "revenue": st.none() | st.decimals(min_value=-(10**20), max_value=10**20, places=10),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(rows=st.lists(_ROWS, min_size=1, max_size=5), driver=st.sampled_from(["psycopg2", "psycopg"]))
def test_the_database_reads_what_was_given(postgres_url: str, rows: list[dict[str, object]], driver: str) -> None:
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername=f"postgresql+{driver}"), poolclass=sa.NullPool)
    each = unnested(_COLUMNS)
    with engine.connect() as connection:
        found = connection.execute(sa.select(*(each.c[column.name] for column in _COLUMNS)), lists(rows)).mappings()
        assert [dict(row) for row in found] == rows


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_the_database_reads_a_list_once_and_not_for_each_row(postgres_url: str, driver: str) -> None:
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername=f"postgresql+{driver}"), poolclass=sa.NullPool)
    numbers = sa.func.generate_series(1, 3).table_valued("number").render_derived()
    query = sa.select(numbers).where(numbers.c.number == sa.any_(array("wanted", events.c.content, [2, 5])))
    executed: list[tuple[str, Any]] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: executed.append(given[2:4]))
    with engine.connect() as connection:
        assert connection.scalars(query).all() == [2]
        [(statement, parameters)] = executed
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
    assert "'{2,5}'::bigint[]" in "".join(plan)


def test_an_amount_in_scientific_notation_is_read(postgres_url: str) -> None:
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
    each = unnested([events.c.revenue])
    with engine.connect() as connection:
        assert connection.scalar(sa.select(each.c.revenue), lists([{"revenue": Decimal("1E-7")}])) == Decimal("1e-7")
