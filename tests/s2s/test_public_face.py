"""What users import of the protocol, and what importing it loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from airflow_provider_adjust import s2s
from airflow_provider_adjust.s2s import errors

PROMISED = {
    *("parse_event", "EventParser", "RowOptions", "SendOptions", "Event", "Receipt", "Outcome", "classify"),
    *("Sender", "Ledger", "Checkpoint"),
}


def _sorted(names: list[str]) -> list[str]:
    """Constants, then the others, each by name; this is how the linter sorts ``__all__``."""
    return sorted(set(names), key=lambda name: (not name.isupper(), name))


def test_every_name_is_there_once_and_in_order() -> None:
    assert s2s.__all__ == _sorted(s2s.__all__)
    assert set(s2s.__all__) >= PROMISED
    assert all(getattr(s2s, name).__name__ == name for name in s2s.__all__ if not name.isupper())
    assert s2s.EVENT.path == "/event"
    assert set(s2s.__all__) <= set(dir(s2s))


def test_a_type_checker_sees_the_same_names() -> None:
    tree = ast.parse(Path(s2s.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert _sorted(seen) == s2s.__all__


def test_every_error_is_there() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and name[0] != "_"}
    assert defined - {"FinalError", "datetime"} <= set(s2s.__all__)


def test_an_unknown_name_is_refused() -> None:
    assert not hasattr(s2s, "Reciept")


def test_the_errors_alone_load_nothing_that_sends() -> None:
    code = (
        "import sys; from airflow_provider_adjust.s2s import DeliveryHalted; "
        "print([m for m in sys.modules if m in ('requests', 'sqlalchemy', 'jsonschema', 'httpx')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
