"""The arguments of ``airflow adjust check-query`` for its query: the names of each, and the keywords of ``add_argument``."""

from __future__ import annotations

from typing import Any, Final

QUERY_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("sql_conn_id",), {"metavar": "CONN", "help": "the database connection"}),
    (
        ("sql",),
        {"nargs": "?", "metavar": "SQL", "help": "one SELECT; Jinja templates in it are not rendered"},
    ),
    (
        ("--file",),
        {"metavar": "FILE", "help": "a .sql file with the query; Jinja templates in it are not rendered"},
    ),
    (
        ("--parameters",),
        {"metavar": "JSON", "help": "values for the query's placeholders: a JSON list or object"},
    ),
    (("--hook-params",), {"metavar": "JSON", "help": "arguments for the connection's hook: a JSON object"}),
    (
        ("--limit",),
        {"type": int, "default": 1000, "metavar": "NUMBER", "help": "how many rows to check (default: 1000)"},
    ),
)
