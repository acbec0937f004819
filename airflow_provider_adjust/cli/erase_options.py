"""The options of ``airflow adjust erase``, ``ledger prune`` and ``files prune``, as keywords of ``add_argument``."""

from __future__ import annotations

from typing import Any, Final

ERASE_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--event-id",), {"action": "append", "metavar": "ID", "help": "the event's id; may be repeated"}),
    (
        ("--device",),
        {
            "metavar": "FILE",
            "help": "a file of lines PARAMETER=VALUE, such as gps_adid=..., or - for stdin; erases the device's lines in "
            "--files, and the events that they name",
        },
    ),
    (("--app-token",), {"metavar": "TOKEN", "help": "only events of this app"}),
    (("--event-token",), {"metavar": "TOKEN", "help": "only events of this event token"}),
    (("--ledger-conn-id",), {"metavar": "CONNECTION", "help": "the ledger's database connection"}),
    (
        ("--adjust-conn-id", "--connection"),
        {
            "metavar": "CONNECTION",
            "help": "the connection with the digest keys, for the ids of a device's events that have no id in their row",
        },
    ),
    (
        ("--files",),
        {
            "action": "append",
            "metavar": "PATH",
            "help": "a folder of rejected and responses files, or one such file; local or s3://...; may be repeated",
        },
    ),
    (("--yes",), {"action": "store_true", "help": "erase; without it, nothing changes"}),
    (
        ("--output",),
        {"choices": ("table", "json"), "default": "table", "help": "the format of the report (default: table)"},
    ),
)

PRUNE_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--ledger-conn-id",), {"required": True, "metavar": "CONNECTION", "help": "the ledger's database connection"}),
    (
        ("--older-than-days",),
        {
            "type": int,
            "default": 90,
            "metavar": "DAYS",
            "help": "days since the event happened, at least 58 (default: 90)",
        },
    ),
)

FILES_PRUNE_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("folder",),
        {"nargs": "?", "help": "the folder to search, with its subfolders (default: [adjust] files_folder)"},
    ),
    (
        ("--older-than-days",),
        {
            "type": int,
            "metavar": "DAYS",
            "help": "days since the last change of a file, at least 1 (default: [adjust] retain_files_for)",
        },
    ),
)
