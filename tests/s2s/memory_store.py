"""A checkpoint's place in memory."""

from __future__ import annotations

import json
from typing import Any


class MemoryStore:
    """Keeps what was saved as JSON, as Airflow does."""

    def __init__(self) -> None:
        self.text: str | None = None

    def load(self) -> dict[str, Any] | None:
        return None if self.text is None else json.loads(self.text)

    def save(self, state: dict[str, Any]) -> None:
        self.text = json.dumps(state)
