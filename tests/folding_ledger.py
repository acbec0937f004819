"""Makes a ledger's column of DAG ids take different names for equal ones, as a conversion of the database might."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import create_view

_VARCHAR = "VARCHAR(250) CHARACTER SET utf8mb4"
#: Types of the column, by the database: they fold letters, accents, or trailing blanks. A Postgres with ICU has collations
#: that fold letters, too; the tests' own is without.
FOLDING = {
    "sqlite": ("VARCHAR(250) COLLATE NOCASE", "VARCHAR(250) COLLATE RTRIM"),
    "mysql": (
        f"{_VARCHAR} COLLATE utf8mb4_general_ci",
        f"{_VARCHAR} COLLATE utf8mb4_unicode_nopad_ci",
        f"{_VARCHAR} COLLATE utf8mb4_bin",
    ),
    "postgresql": ("CHAR(250)",),
}


def fold(engine: sa.Engine, new_type: str) -> None:
    """Give the column that type. Its table must be empty."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP VIEW adjust_delivery")
        if engine.dialect.name == "sqlite":
            made = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = 'adjust_try'"))
            connection.exec_driver_sql("DROP TABLE adjust_try")
            connection.exec_driver_sql(made.replace("dag_id VARCHAR(250)", f"dag_id {new_type}"))
        elif engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ALTER TABLE adjust_try ALTER dag_id TYPE {new_type}")
        else:
            connection.exec_driver_sql(f"ALTER TABLE adjust_try MODIFY dag_id {new_type} NOT NULL")
        create_view(connection)
