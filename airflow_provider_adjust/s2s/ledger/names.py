"""Check that the database compares the ledger's names byte by byte.

Event ids decide what is sent, and DAG ids who may see it. The ledger's own tables compare bytes. A conversion of the database,
such as ``ALTER TABLE ... CONVERT TO CHARACTER SET``, may have changed that.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.schema import Name, metadata

#: Texts that some collation treats as equal: by case, accent, composition, trailing space, punctuation, or beyond 16 bits.
TEXTS = ("a", "A", "\u00e1", "a\u0301", "a ", "a-", "\U0001f600", "\U0001f601")


def refuse_folding(connection: sa.Connection) -> None:
    """Refuse a ledger if a column treats different names as equal.

    :raises AdjustConfigurationError: there is such a column.
    """
    for column, different in connection.execute(_distinct_texts()).all():
        if different != len(TEXTS):
            raise AdjustConfigurationError(
                f"the ledger's column {column} treats different texts as equal, such as 'a', 'A' and 'a ': give it a "
                "collation that compares bytes, or name another database in ledger_conn_id"
            )


@cache
def _distinct_texts() -> sa.CompoundSelect[Any]:
    """How many of the texts each column distinguishes. Nothing is written: a union compares like its first part."""
    columns = [column for table in metadata.sorted_tables for column in table.c if isinstance(column.type, Name)]
    counts: list[Any] = []
    for column in columns:
        texts = [sa.select(sa.literal(text, sa.String)) for text in TEXTS]
        union = sa.union_all(sa.select(column.label("text")).where(sa.false()), *texts).subquery()
        counts.append(sa.select(sa.literal_column(f"'{column}'"), sa.func.count(sa.distinct(union.c.text))))
    return sa.union_all(*counts)
