"""What stands for an event before it is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


class ResubmittedRow(dict[str, Any]):
    """A row from a rejected file. It keeps the id that its event had, whatever was mended."""

    def __init__(self, row: Row, event_id: str) -> None:
        super().__init__(row)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """What a reader gives in a row's place when it cannot read it."""

    problem: str
