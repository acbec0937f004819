"""Local files with rows or answers: accessible to their owner only, and never opened through a link.

Rows contain device ids. Otherwise anyone who may write to the folder could put a link in place of a file, and have another
file read or overwritten. On object storage, the bucket's own access rules apply.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

from airflow.sdk import ObjectStoragePath

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
#: How lines of receipts are read: bytes that are not UTF-8 are replaced.
TEXT: Final = {"encoding": "utf-8", "errors": "replace"}
_NEVER_A_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def is_local(path: ObjectStoragePath) -> bool:
    """Whether the path is local, rather than on object storage."""
    return path.protocol in {"", "file", "local"}


def local_path(path: ObjectStoragePath) -> Path:
    """The absolute local path."""
    return Path(os.path.abspath(path.path))


def make_folder(folder: Path) -> None:
    """Create the folder and its missing parents, for their owner only. Existing folders keep their mode.

    :raises OSError: it cannot be created, or something else has its name, such as a broken link.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileNotFoundError:
        make_folder(folder.parent)
        make_folder(folder)
    except OSError:
        if not folder.is_dir():
            raise


def new_file(path: ObjectStoragePath) -> tuple[ObjectStoragePath, Any]:
    """Create a file and open it for text: the path, or the first free name with a number.

    A link counts as a taken name. Of two simultaneous runs on one machine, each gets its own file.
    """
    names = _names(path)
    if not is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        free = next(each for each in names if not each.exists())
        # On object storage a file appears when it is closed. An empty one reserves the name until then.
        free.touch()
        return free, free.open("w", encoding="utf-8")  # type: ignore[no-untyped-call]
    make_folder(local_path(path).parent)
    for free in names:
        with suppress(FileExistsError):
            return free, _text(_open(local_path(free), os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w")
    raise AssertionError("the names do not end")


def open_own(path: Path) -> TextIO:
    """Open a file of this user for reading; bytes that are not UTF-8 are replaced.

    :raises OSError: it cannot be opened, for example since it is a link.
    :raises PermissionError: it belongs to another user, or is not a regular file.
    """
    return _text(_checked(_open(path, os.O_RDONLY), path), "r")


def open_private(path: str | ObjectStoragePath) -> TextIO:
    """Open a file for text, truncated; for a task that writes the rows which another task sends.

    A local file, and the folders created for it, are accessible to their owner only.

    :raises OSError: it cannot be opened, for example since it is a link.
    :raises PermissionError: it belongs to another user, or is not a regular file.
    """
    target = ObjectStoragePath(path)
    if not is_local(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        opened: TextIO = target.open("w", encoding="utf-8")  # type: ignore[no-untyped-call]
        return opened
    own = local_path(target)
    make_folder(own.parent)
    descriptor = _checked(_open(own, os.O_WRONLY | os.O_CREAT), own)
    os.fchmod(descriptor, FILE_MODE)
    os.ftruncate(descriptor, 0)
    return _text(descriptor, "w")


def is_own(status: os.stat_result) -> bool:
    """Whether it is a regular file of this user."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | _NEVER_A_LINK, FILE_MODE)


def _checked(descriptor: int, path: Path) -> int:
    if not is_own(os.fstat(descriptor)):
        os.close(descriptor)
        raise PermissionError(f"{path} belongs to another user, or is not a regular file")
    return descriptor


def _text(descriptor: int, mode: str) -> TextIO:
    opened: Any = os.fdopen(descriptor, mode, encoding="utf-8", errors="replace" if mode == "r" else "strict")
    return opened  # type: ignore[no-any-return]


def _names(path: ObjectStoragePath) -> Iterator[ObjectStoragePath]:
    """``night.jsonl``, ``night.2.jsonl``, and so on."""
    yield path
    number = 1
    while True:
        number += 1
        yield path.with_name(f"{path.stem}.{number}{path.suffix}")
