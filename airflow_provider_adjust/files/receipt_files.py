"""JSON Lines files of a task's tries, on any storage that Airflow reaches. Each is created with its first line."""

from __future__ import annotations

import json
import logging
from itertools import islice
from types import TracebackType
from typing import Any, Self

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files.folder import path_of
from airflow_provider_adjust.files.private import TEXT, is_local, local_path, new_file, open_own
from airflow_provider_adjust.s2s.answers.outcome import UNRESOLVED
from airflow_provider_adjust.s2s.answers.reasons import IN_FUTURE
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

log = logging.getLogger(__name__)


class ReceiptFile:
    """A JSON Lines file, created on the first write. Without a path it discards the lines.

    An existing file belongs to another run and is never changed: the new file gets a number in its name. A local file is
    accessible to its owner only, and links are not followed.
    """

    def __init__(self, path: ObjectStoragePath | None) -> None:
        self._path = path
        self._file: Any = None
        self.lines = 0
        #: The file of an earlier try, if it was deleted.
        self.missing: str | None = None

    @classmethod
    def of_try(cls, path: str | None, ti: Any) -> Self:
        """The file of this try of this task instance: neither a retry nor a mapped sibling overwrites it.

        :raises AdjustConfigurationError: the path's name has another ending, or leads outside the configured folder.
        """
        if not path:
            return cls(None)
        target = path_of(path)
        if target.suffix != ".jsonl":
            raise AdjustConfigurationError(
                f"{target.name!r} must end in .jsonl, as rejected_path and responses_path do"
            )
        map_index, try_number = getattr(ti, "map_index", -1), getattr(ti, "try_number", 1)
        marks = f".map{map_index}" if isinstance(map_index, int) and map_index >= 0 else ""
        marks += f".try{try_number}" if isinstance(try_number, int) and try_number > 1 else ""
        return cls(target.with_name(f"{target.stem}{marks}{target.suffix}") if marks else target)

    @property
    def folder(self) -> ObjectStoragePath | None:
        """The folder that the file is or would be in; None without a path."""
        return None if self._path is None else self._path.parent

    @property
    def written_to(self) -> str | None:
        """The location of the lines; None if there are none yet."""
        return None if self._file is None else str(self._path)

    def write(self, line: str) -> None:
        if self._path is None:
            return
        if self._file is None:
            wanted = self._path
            self._path, self._file = new_file(wanted)
            if self._path != wanted:
                log.warning("%s exists and is not overwritten; the lines are written to %s", wanted, self._path.name)
        self._file.write(line + "\n")
        self.lines += 1

    def flush(self) -> None:
        """Write the buffered lines, if the storage can append to a file."""
        if self._file is not None:
            self._file.flush()

    def carry_over(self, earlier: str, lines: int) -> None:
        """Begin with the settled events among the first ``lines`` lines of an earlier try's file.

        Events that were held, in doubt or in the future are not settled: this try checks them again. An incomplete line is
        dropped: the disk was full, or the try was killed.
        """
        path = ObjectStoragePath(earlier)
        if self._path is None:
            return
        try:
            opened: Any = open_own(local_path(path)) if is_local(path) else path.open("r", **TEXT)  # type: ignore[no-untyped-call]
        except FileNotFoundError:
            self.missing = earlier
            log.warning("The list of an earlier try, %s, no longer exists", earlier)
            return
        except OSError as error:
            if not is_local(path):
                raise
            # A link, or another user's file: its content may be forged.
            log.warning("The list of an earlier try, %s, is not used: %s", earlier, error.strerror or error)
            return
        whole = 0
        with opened as file:
            for line in islice(file, lines):
                ending = _ending(line)
                whole += ending is not None
                if ending is not None and ending[0] not in UNRESOLVED and ending[1] != IN_FUTURE:
                    self.write(line.rstrip("\n"))
        if whole < lines:
            log.warning(
                "%s of the %s events that an earlier try listed in %s are cut off or missing there; they are settled, and "
                "only their lines are lost",
                f"{lines - whole:,}",
                f"{lines:,}",
                earlier,
            )
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _ending(line: str) -> tuple[str, str] | None:
    """Outcome and reason in a line of a rejected file; None if the line is incomplete."""
    try:
        entry = json.loads(line)
        return str(entry["outcome"]), str(entry.get("reason", ""))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
