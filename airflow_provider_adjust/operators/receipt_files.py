"""A JSON Lines file that is made when its first line is written, on any storage that Airflow reaches."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from airflow.sdk import ObjectStoragePath


class ReceiptFile:
    """Collects lines at a path; without a path it takes them and keeps nothing."""

    def __init__(self, path: ObjectStoragePath | None) -> None:
        self._path = path
        self._file: Any = None

    @property
    def written_to(self) -> str | None:
        """Where the lines are; None while there are none."""
        return None if self._file is None else str(self._path)

    def write(self, line: str) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8")  # type: ignore[no-untyped-call]
        self._file.write(line + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
