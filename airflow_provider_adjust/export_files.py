"""Find Adjust's raw data exports in a folder or a bucket, through Airflow's object storage."""

from __future__ import annotations

import os
from functools import partial

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.reconcile.exports.names import ExportFile, read_name
from airflow_provider_adjust.reconcile.exports.uploaded import poll_uploads
from airflow_provider_adjust.reconcile.exports.window import Window
from airflow_provider_adjust.reconcile.poll import PollResult
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import quote


def export_files(exports: str | ObjectStoragePath) -> list[ExportFile]:
    """The export files below a path. Other files, or a path that does not exist yet, are not errors.

    :param exports: a URL such as ``s3://conn@bucket/adjust``, or a path from the root.
    :raises AdjustConfigurationError: it is a path that does not begin at the root.
    """
    text = str(exports)
    if "://" not in text and not os.path.isabs(text):
        raise AdjustConfigurationError(
            f"exports is {quote(text)}; name a URL such as s3://conn@bucket/adjust, or a path that begins with /"
        )
    try:
        folder = ObjectStoragePath(text)
        storage = folder.fs
    except (ValueError, ImportError) as error:
        raise AdjustConfigurationError(
            f"exports is {quote(text)}, a storage that cannot be opened ({_what(error)}); install its Airflow provider"
        ) from None
    # Some storages cache their listings, and a triggerer runs for weeks.
    storage.invalidate_cache()
    return [
        ExportFile(path, name, partial(storage.open, path, "rb"))
        for path in storage.find(folder.path)
        if (name := read_name(path)) is not None
    ]


def _what(error: Exception) -> str:
    return f"no module {error.name}" if isinstance(error, ImportError) and error.name else type(error).__name__


def poll_exports(exports: str, window: Window, app_token: str, *, every_hour_has_files: bool) -> PollResult:
    """List the folder once, and check whether the hours are there. If the storage fails, the next poll may succeed.

    :raises AdjustConfigurationError: ``exports`` is neither a URL nor an absolute path.
    """
    try:
        files = export_files(exports)
    except OSError as error:
        return PollResult(False, f"the exports cannot be listed ({type(error).__name__})")
    return poll_uploads(files, window, app_token, every_hour_has_files=every_hour_has_files)
