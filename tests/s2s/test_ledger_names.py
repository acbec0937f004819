"""The ledger tells its names apart byte by byte, and refuses a database that does not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from folding_ledger import FOLDING, fold
from ledger_rows import write_deliveries
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.names import refuse_folding
from airflow_provider_adjust.s2s.ledger.schema import Name, deliveries, drop_all, metadata, tries

NAMES = ("Sales", "sales", "s\u00e1les", "sa\u0301les", "sales ", "sale\u00df", "saless", "\U0001f600", "\U0001f601")


def test_names_that_differ_by_one_byte_are_different_names(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    row: dict[str, Any] = {"app_token": "app", "event_token": "event", "environment": "sandbox", "status": "delivered"}
    row |= {"occurred_at": datetime(2026, 5, 1)}
    with ledger_engine.begin() as connection:
        write_deliveries(connection, [row | {"event_id": name, "dag_id": name} for name in NAMES])
        for column in (deliveries.c.event_id, deliveries.c.dag_id):
            for name in NAMES:
                found = connection.execute(sa.select(deliveries.c.event_id, deliveries.c.dag_id).where(column == name))
                assert found.all() == [(name, name)]


def test_a_ledger_that_takes_different_names_for_equal_ones_is_refused(ledger_engine: sa.Engine) -> None:
    for way in FOLDING[ledger_engine.dialect.name]:
        with ledger_engine.begin() as connection:
            drop_all(connection)
        prepare(ledger_engine)
        fold(ledger_engine, way)
        with pytest.raises(AdjustConfigurationError) as refused:
            prepare(ledger_engine)
        assert str(refused.value) == (
            "the ledger's column adjust_try.dag_id treats different texts as equal, such as 'a', 'A' and 'a ': give it a "
            "collation that compares bytes, or name another database in ledger_conn_id"
        )


def test_every_text_but_messages_and_paths_is_a_name() -> None:
    others = {
        str(column)
        for table in metadata.sorted_tables
        for column in table.c
        if isinstance(column.type, sa.String) and not isinstance(column.type, Name)
    }
    # The ids of digest keys are hexadecimal, and compared in Python.
    assert others == {"adjust_try.error", "adjust_try.rejected_path", "adjust_try.digest_keys"}


def test_the_check_writes_nothing(ledger_engine: sa.Engine) -> None:
    prepare(ledger_engine)
    with ledger_engine.connect() as connection:
        refuse_folding(connection)
        assert [
            connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in metadata.sorted_tables
        ] == [int(table.name == "adjust_ledger_version") for table in metadata.sorted_tables]


def test_mysql_and_mariadb_have_a_collation_each_that_does_not_cut_blanks() -> None:
    for is_mariadb, collation in ((False, "utf8mb4_0900_bin"), (True, "utf8mb4_nopad_bin")):
        statement = str(CreateTable(tries).compile(dialect=mysql.dialect(is_mariadb=is_mariadb)))
        assert f"dag_id VARCHAR(250) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL" in statement
