"""The arguments of ``airflow adjust contract`` for the model: the names of each, and the keywords of ``add_argument``."""

from __future__ import annotations

from typing import Any, Final

CONTRACT_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("columns",),
        {
            "nargs": "*",
            "metavar": "COLUMN",
            "help": "the model's columns (default: those of a purchase, or of --endpoint, and --id-field)",
        },
    ),
    (("--format",), {"choices": ("dbt",), "default": "dbt", "help": "the tool that reads the contract (default: dbt)"}),
    (
        ("--model",),
        {"default": "adjust_purchases", "metavar": "NAME", "help": "the model's name (default: adjust_purchases)"},
    ),
)
