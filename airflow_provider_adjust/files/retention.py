"""Delete old rejected files and responses files, and no other files.

A file is recognised by its content, since the user chooses its name: its first line has keys that only these files have. All
other files in the folder stay.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files.lines import LONGEST_LINE
from airflow_provider_adjust.files.private import TEXT, is_local, local_path, open_own
from airflow_provider_adjust.s2s.account.rejected import is_response_line, is_whole_line
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

log = logging.getLogger(__name__)

#: A retry within a day may still use the lines of an earlier try.
SHORTEST: Final = timedelta(days=1)


@dataclass
class Pruned:
    """How many files were deleted, and how many could not be read or deleted."""

    deleted: int = 0
    failed: int = 0


def check_retention(age: timedelta | None, *, argument: str) -> None:
    """Refuse an age at which a file may still be in use.

    :raises AdjustConfigurationError: it is shorter than a day, or not a timedelta.
    """
    if age is not None and not (isinstance(age, timedelta) and age >= SHORTEST):
        raise AdjustConfigurationError(
            f"{argument} is {age!r}; it must be a timedelta of at least one day, since a retry reads the files"
        )


def prune_files(
    folders: Iterable[ObjectStoragePath], *, older_than: timedelta, now: datetime | None = None, below: bool = False
) -> Pruned:
    """Delete the rejected files and responses files in the folders that were last changed before this age.

    An error keeps the file and is counted; it is never raised. Local links are not followed, and files of other users are
    kept.

    :param below: also in their subfolders.
    """
    done = Pruned()
    limit = (now or datetime.now(UTC)) - older_than
    for folder in dict.fromkeys(folders):
        try:
            for path in _files(folder, below=below):
                _prune_one(path, limit, done)
        except FileNotFoundError:
            continue  # nothing was written there yet
        except Exception as error:
            # Only the type: a storage's message may contain its address.
            done.failed += 1
            log.warning("The folder %s could not be searched for old files (%s)", folder, type(error).__name__)
    return done


def _prune_one(path: ObjectStoragePath, limit: datetime, done: Pruned) -> None:
    try:
        if _changed_at(path) < limit and _is_ours(path):
            path.unlink()
            done.deleted += 1
    except FileNotFoundError:
        pass  # another task was faster
    except Exception as error:
        done.failed += 1
        log.warning("The old file %s could not be deleted (%s)", path, type(error).__name__)


def _files(folder: ObjectStoragePath, *, below: bool) -> Iterator[ObjectStoragePath]:
    for path in list(folder.iterdir()):
        is_link = is_local(path) and os.path.islink(local_path(path))
        if path.suffix == ".jsonl":
            if not is_link and path.is_file():
                yield path
        elif below and not is_link and path.is_dir():
            yield from _files(path, below=True)


def _changed_at(path: ObjectStoragePath) -> datetime:
    if is_local(path):
        return datetime.fromtimestamp(os.lstat(local_path(path)).st_mtime, UTC)
    changed: datetime = path.fs.modified(path.path)
    return changed if changed.tzinfo else changed.replace(tzinfo=UTC)


def _is_ours(path: ObjectStoragePath) -> bool:
    try:
        opened: Any = open_own(local_path(path)) if is_local(path) else path.open("r", **TEXT)  # type: ignore[no-untyped-call]
    except PermissionError:
        if is_local(path):
            return False  # another user's
        raise
    with opened as file:
        line = file.readline(LONGEST_LINE)
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return is_whole_line(entry) or is_response_line(entry)
