"""Remove the lines about an event or a device from rejected files and responses files."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.files.private import is_local
from airflow_provider_adjust.s2s.account.rejected import ROW_KEY, is_rejected_line
from airflow_provider_adjust.s2s.endpoints.endpoint import ENDPOINTS, Parameter
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.values import NORMALISERS

#: A shorter value is not searched in a truncated line: it may mean anything.
_LONG_ENOUGH = 8
#: Keyed by name in lower case, since a query's column may use another case.
_PARAMETERS = {
    name.casefold(): parameter for endpoint in ENDPOINTS.values() for name, parameter in endpoint.parameters.items()
}


@dataclass(frozen=True)
class Device:
    """A device, identified by one of its ids under the name of Adjust's parameter."""

    parameter: str
    value: str = field(repr=False)

    @classmethod
    def parse(cls, line: str) -> Device:
        """Read ``parameter=value``.

        :raises AdjustConfigurationError: the line has another form.
        """
        name, equals, value = line.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise AdjustConfigurationError("a line of --device must be PARAMETER=VALUE, such as gps_adid=...")
        return cls(name.strip(), value.strip())

    def is_in(self, entry: Any) -> bool:
        """Whether a line or a nested value has the id under its name or that of another device id.

        Under other names the same text may mean anything, such as the number of another device's order.
        """
        if isinstance(entry, str) and entry.lstrip()[:1] in {"{", "["}:
            entry = _read(entry)  # such as callback_params
        if isinstance(entry, Mapping):
            return any(self._is_named(name, value) or self.is_in(value) for name, value in entry.items())
        return isinstance(entry, list) and any(map(self.is_in, entry))

    def is_in_text(self, text: str) -> bool:
        """Whether a truncated line has the id as a word."""
        return len(self.value) >= _LONG_ENOUGH and as_a_word(self.value).search(text) is not None

    def _is_named(self, name: str, value: Any) -> bool:
        parameter = _PARAMETERS.get(name.casefold())
        is_device_id = parameter is not None and parameter.kind == "device_id"
        if not is_device_id and name.casefold() != self.parameter.casefold():
            return False
        return isinstance(value, str | int) and _as_sent(parameter, value) == _as_sent(parameter, self.value)


def _as_sent(parameter: Parameter | None, value: str | int) -> str:
    """The value as it would be sent, in lower case."""
    if parameter is not None and (normalise := NORMALISERS.get(parameter.kind)) is not None:
        with suppress(InvalidEvent):
            return (normalise(parameter, value) or str(value).strip()).casefold()
    return str(value).strip().casefold()


def as_a_word(value: str) -> re.Pattern[str]:
    """A pattern for the value with no letter or digit next to it."""
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Subject:
    """The events, by id, or devices that are erased.

    A row that names another app or event token is not of the event; a row that names none may be.
    """

    event_ids: Collection[str] = ()
    devices: Collection[Device] = ()
    app_token: str | None = None
    event_token: str | None = None

    def is_in(self, line: bytes) -> bool:
        """Whether the line is about one of them."""
        entry = _read(line)
        if not isinstance(entry, Mapping):
            # A truncated line can only be searched as text.
            text = line.decode("utf-8", "replace")
            return any(f'"event_id": {json.dumps(each)}' in text for each in self.event_ids) or any(
                device.is_in_text(text) for device in self.devices
            )
        is_event = entry.get("event_id") in self.event_ids and self._may_be_of_the_app(entry)
        return is_event or any(device.is_in(entry) for device in self.devices)

    def _may_be_of_the_app(self, entry: Mapping[str, Any]) -> bool:
        row = entry.get(ROW_KEY)
        given = row if isinstance(row, Mapping) else {}
        wanted = {"app_token": self.app_token, "event_token": self.event_token}
        return all(given.get(name, token) == token for name, token in wanted.items() if token is not None)


def found_lines(path: ObjectStoragePath, subject: Subject) -> Iterator[bytes]:
    """The lines of a file that are about the subject."""
    with path.open("rb") as file:  # type: ignore[no-untyped-call]
        yield from filter(subject.is_in, file)


def event_of(line: bytes) -> tuple[str | None, Any]:
    """The event id of a line, and the row of a rejected line; None if the line has none."""
    entry = _read(line)
    if not isinstance(entry, Mapping):
        return None, None
    event_id = entry.get("event_id")
    return event_id if isinstance(event_id, str) else None, entry[ROW_KEY] if is_rejected_line(entry) else None


def remove_lines(path: ObjectStoragePath, subject: Subject) -> None:
    """Write the file without the subject's lines, in one step: a reader sees the old file or the new one.

    A local file is readable by its owner only, afterwards.
    """
    with path.open("rb") as file:  # type: ignore[no-untyped-call]
        kept = (line for line in file if not subject.is_in(line))
        if is_local(path):
            _replace(path.path, kept)
            return
        whole = b"".join(kept)
    with path.open("wb") as file:  # type: ignore[no-untyped-call]
        file.write(whole)


def files_of(paths: Iterable[ObjectStoragePath]) -> Iterator[ObjectStoragePath]:
    """The ``.jsonl`` files among the paths and in their folders. Links to folders are not followed.

    :raises AdjustConfigurationError: a path does not exist.
    """
    for path in paths:
        if path.is_dir():
            found = sorted(path.iterdir(), key=lambda each: each.name)
            links = [each for each in found if is_link(each) and each.is_dir()]
            yield from links
            yield from files_of(each for each in found if each not in links)
        elif path.suffix == ".jsonl":
            yield path
        elif not path.exists():
            raise AdjustConfigurationError(f"--files names {path}, which does not exist")


def is_link(path: ObjectStoragePath) -> bool:
    """Whether the file or folder is a link: erasing would leave its target."""
    return is_local(path) and os.path.islink(path.path)


def _replace(path: str, lines: Iterable[bytes]) -> None:
    number, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".adjust-erase-")
    try:
        with os.fdopen(number, "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _read(line: str | bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
