"""Whether Adjust has uploaded the files of a window."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_adjust.reconcile.exports.names import ExportFile, of_app
from airflow_provider_adjust.reconcile.exports.result import named_hours
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.reconcile.poll import PollResult


def poll_uploads(
    files: Iterable[ExportFile], window: Window, app_token: str, *, every_hour_has_files: bool = True
) -> PollResult:
    """Check whether each hour of the window has a file of the app.

    :param every_hour_has_files: False treats an hour without a file as empty, once a later hour has one.
    """
    found = [each.name.hour for each in of_app(files, app_token)]
    hours = list(window.hours())
    if every_hour_has_files:
        missing = [hour for hour in hours if hour not in set(found)]
    else:
        latest = max(found, default=None)
        missing = [hour for hour in hours if latest is None or hour > latest]
    if missing:
        return PollResult(
            False, f"{len(missing):,} of {len(hours):,} hours have no file of the app yet: {named_hours(missing)}"
        )
    count = sum(window.start <= hour < window.end or hour == hours[0] for hour in found)
    return PollResult(
        True, f"{count:,} files are there for the {len(hours):,} hours", {"hours": len(hours), "files": count}
    )
