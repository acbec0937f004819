"""A temporarily full disk: a small tmpfs if this user may mount one, otherwise /dev/full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SIZE = 32 * 1024**2


class Disk:
    """A folder on a disk that can be filled. On a tmpfs, the last write is cut within a line.

    :param target: the file that can no longer be written if nothing can be mounted: it becomes a link to /dev/full.
    """

    def __init__(self, folder: Path, target: str, *, is_mounted: bool) -> None:
        self._filler = folder / "filler"
        self._target = folder / target
        self.kind = "tmpfs" if is_mounted else "/dev/full"

    def fill(self) -> None:
        if self.kind == "tmpfs":
            with suppress(OSError), self._filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(65536))
            with suppress(OSError), self._filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(512))
        elif not self._target.exists():
            self._target.symlink_to("/dev/full")

    def free(self) -> None:
        if self.kind == "tmpfs":
            self._filler.unlink(missing_ok=True)
        elif self._target.is_symlink():
            self._target.unlink()


@contextmanager
def small_disk(folder: Path, target: str) -> Iterator[Disk]:
    folder.mkdir()
    mount = shutil.which("mount")
    words = [mount or "", "-t", "tmpfs", "-o", f"size={_SIZE}", "adjust-campaign", str(folder)]
    is_mounted = bool(mount) and subprocess.run(words, capture_output=True, check=False).returncode == 0  # noqa: S603
    try:
        yield Disk(folder, target, is_mounted=is_mounted)
    finally:
        if is_mounted:
            subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)  # noqa: S603
