"""Files that hold rows or answers, on this machine: for their owner alone, and never through a link.

Rows hold device ids. Whoever may write to the folder could otherwise have a file of theirs read or overwritten, by a link
that stands where the file is expected. Object storage has its own rules, which its bucket sets.
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
#: How lines of receipts are read: bytes that are no text are replaced.
TEXT: Final = {"encoding": "utf-8", "errors": "replace"}
_NEVER_A_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def is_local(path: ObjectStoragePath) -> bool:
    """Tell a path of this machine from one of object storage."""
    return path.protocol in {"", "file", "local"}


def local_path(path: ObjectStoragePath) -> Path:
    """The path of this machine, from the root."""
    return Path(os.path.abspath(path.path))


def make_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing, for their owner alone. What exists keeps its mode.

    :raises OSError: it cannot be made, or something that is no folder has its name, such as a link that leads nowhere.
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
    """Make a file and open it for text: the path, or, if that is taken, the first with a number that is not.

    A link takes the name as a file does. Of two runs at once, on this machine each gets a file of its own.
    """
    names = _names(path)
    if not is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        free = next(each for each in names if not each.exists())
        # On object storage a file appears when it is closed. An empty one takes the name until then.
        free.touch()
        return free, free.open("w", encoding="utf-8")  # type: ignore[no-untyped-call]
    make_folder(local_path(path).parent)
    for free in names:
        with suppress(FileExistsError):
            return free, _text(_open(local_path(free), os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w")
    raise AssertionError("the names do not end")


def open_own(path: Path) -> TextIO:
    """Open a file that this user wrote for reading; bytes that are no text are replaced.

    :raises OSError: it cannot be opened, for example since it is a link.
    :raises PermissionError: it is another user's, or is no regular file.
    """
    return _text(_checked(_open(path, os.O_RDONLY), path), "r")


def open_private(path: str | ObjectStoragePath) -> TextIO:
    """Open a file for text that is written from its start; for a task that writes the rows which another one sends.

    On this machine, the file and the folders that are made for it are for their owner alone.

    :raises OSError: it cannot be opened, for example since it is a link.
    :raises PermissionError: it is another user's, or is no regular file.
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
    """Tell whether it is a regular file of this user's."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | _NEVER_A_LINK, FILE_MODE)


def _checked(descriptor: int, path: Path) -> int:
    if not is_own(os.fstat(descriptor)):
        os.close(descriptor)
        raise PermissionError(f"{path} is another user's, or is no regular file")
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
