"""``files prune``: deletes old files like ``retain_for`` of the sending operators, in a folder and its subfolders."""

from __future__ import annotations

from argparse import Namespace
from datetime import timedelta

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.cli.definition import ExitCode
from airflow_provider_adjust.cli.rows import path_of
from airflow_provider_adjust.cli.terminal import Terminal
from airflow_provider_adjust.files.folder import files_folder, retain_files_for
from airflow_provider_adjust.files.retention import check_retention, prune_files
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


def prune(options: Namespace, terminal: Terminal) -> int:
    """Delete old rejected files and responses files, and show how many."""
    days = options.older_than_days
    older_than = retain_files_for() if days is None else timedelta(days=days)
    if older_than is None:
        raise AdjustConfigurationError(
            "give --older-than-days, or set [adjust] retain_files_for in Airflow's configuration"
        )
    check_retention(older_than, argument="--older-than-days")
    folder = path_of(options.folder) if options.folder else ObjectStoragePath(files_folder())
    done = prune_files([folder], older_than=older_than, below=True)
    terminal.say(
        f"{done.deleted:,} rejected and responses files older than {older_than.days} days were deleted below {folder}"
    )
    if done.failed:
        terminal.say(f"{done.failed:,} could not be searched or deleted; the log says which")
        return ExitCode.STOPPED
    return ExitCode.OK
