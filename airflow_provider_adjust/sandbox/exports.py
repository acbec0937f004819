"""Raw data exports as Adjust documents them: CSV files by the hour in which events were processed, compressed with gzip.

A folder replaces the bucket. Files may be late, lost or truncated, or have repeated lines, so that readers can be tested.
"""

from __future__ import annotations

import csv
import dataclasses
import decimal
import gzip
import hashlib
import io
import json
import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

#: A definition as a customer would set it in Adjust.
DEFINITION = (
    "{app_token},{environment},{activity_kind},{event},[event_id],{created_at},{revenue_float},{currency},{received_at}"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """How exports are written.

    :param definition: the CSV definition: placeholders, callback parameters in brackets, constants in quotes.
    :param parts: files an hour.
    :param late: how many files are held back until the next call; the last ones.
    :param lost: how many files are never written; the first ones.
    :param cut: how many of the written files end in the middle; the first ones.
    :param doubled: share of lines, 0 to 1, that are written twice.
    :param empty_hours: hours, as ``2026-05-01T13``, that get a file without lines.
    :param seed: selects the doubled lines.
    """

    definition: str = DEFINITION
    parts: int = 1
    late: int = 0
    lost: int = 0
    cut: int = 0
    doubled: float = 0.0
    empty_hours: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("parts", "late", "lost", "cut"):
            value, least = getattr(self, name), int(name == "parts")
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number, {least} or more")
        if not isinstance(self.doubled, int | float) or not 0 <= self.doubled <= 1:
            raise ValueError("doubled must be a share between 0 and 1")
        if not isinstance(self.definition, str) or not self.definition:
            raise ValueError("definition must name columns")


class ExportWriter:
    """Writes the recorded events of a sandbox into a folder; each call writes what was recorded since the last one.

    :param folder: replaces the bucket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0
        self._late: dict[str, bytes] = {}

    def write(self, events: Sequence[Mapping[str, object]], plan: ExportPlan) -> list[str]:
        """Write files for the events that are new, and those that were late; return the names of the files."""
        first, self._written = self._written, len(events)
        files = dict(_files(events[first:], plan, first))
        names = list(files)[plan.lost :]
        late = names[max(0, len(names) - plan.late) :]
        ready = {**self._late, **{name: files[name] for name in names[: len(names) - len(late)]}}
        self._late = {name: files[name] for name in late}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number, (name, content) in enumerate(ready.items()):
            _write(self._folder / name, content[: len(content) * 2 // 3] if number < plan.cut else content)
        return list(ready)


def _write(path: Path, content: bytes) -> None:
    """Have the file appear as a whole, as it does in a bucket."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(name).replace(path)


def _files(events: Iterable[Mapping[str, object]], plan: ExportPlan, first: int) -> Iterator[tuple[str, bytes]]:
    chosen = random.Random(plan.seed)
    by_hour: dict[tuple[str, datetime], list[list[str]]] = defaultdict(list)
    columns = _columns(plan.definition)
    app_token = ""
    for event in events:
        params: dict[str, str] = event["params"]  # type: ignore[assignment]
        received_at: float = event["received_at"]  # type: ignore[assignment]
        app_token = params.get("app_token", "")
        hour = datetime.fromtimestamp(received_at, UTC).replace(minute=0, second=0, microsecond=0)
        kind = str(event.get("endpoint", "event"))
        line = [_value(column, params, received_at, kind) for column in columns]
        by_hour[app_token, hour] += [line] * (2 if chosen.random() < plan.doubled else 1)
    for empty in plan.empty_hours:
        by_hour.setdefault((app_token, datetime.fromisoformat(f"{empty}:00:00").replace(tzinfo=UTC)), [])
    digest = hashlib.blake2b(plan.definition.encode(), digest_size=16).hexdigest()
    for (app, hour), lines in sorted(by_hour.items()):
        for part in range(plan.parts):
            # Two uploads of one hour are two files.
            own = hashlib.blake2b(repr((app, hour, part, first, lines)).encode(), digest_size=8).hexdigest()
            name = f"{app}_{hour:%Y-%m-%dT%H%M%S}_{digest}_{own}.csv.gz"
            yield name, _packed(plan.definition, lines[part :: plan.parts])


def _packed(definition: str, lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    text.write(f"{definition}\n")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _columns(definition: str) -> list[str]:
    """The definition's columns; a constant keeps its quotes."""
    columns, quoted, start = [], False, 0
    for place, character in enumerate(definition):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            columns.append(definition[start:place].strip())
            start = place + 1
    return [*columns, definition[start:].strip()]


def _value(column: str, params: Mapping[str, str], received_at: float, kind: str) -> str:
    if column.startswith('"'):
        return column.strip('"')
    if column.startswith("["):
        value = _callback(params).get(column.strip("[]"), "")
        return value if isinstance(value, str) else json.dumps(value)
    name = column.strip("{}")
    if name == "event":
        return params.get("event_token", "")
    if name == "activity_kind":
        return kind
    if name == "is_s2s":
        return "1"
    if name == "environment":
        return params.get("environment", "production")  # Adjust's own default
    if name == "created_at":
        return params.get("created_at_unix") or str(int(received_at))
    if name == "received_at":
        return str(int(received_at))
    if name == "revenue_float":
        return params.get("revenue", "")
    if name == "revenue":
        return _cents(params.get("revenue", ""))
    if name in {"callback_parameters", "publisher_parameters"}:
        return params.get("callback_params", "")
    # As older and newer editions show it, a bare name is a callback parameter, too.
    return params.get(name) or str(_callback(params).get(name, ""))


def _cents(revenue: str) -> str:
    return str((decimal.Decimal(revenue) * 100).quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP)) if revenue else ""


def _callback(params: Mapping[str, str]) -> dict[str, object]:
    try:
        entries = json.loads(params.get("callback_params", "{}"))
    except ValueError:
        return {}
    return entries if isinstance(entries, dict) else {}
