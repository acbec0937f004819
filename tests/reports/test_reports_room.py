"""The room of reports stands without Airflow, and nothing in it sends."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

from airflow_provider_adjust import reports

MODULES = [module.name for module in pkgutil.iter_modules(reports.__path__, f"{reports.__name__}.")]


def test_nothing_of_airflow_and_nothing_that_sends_is_loaded() -> None:
    """Checked in a process of its own: here, other tests may have loaded both."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = json.loads(done.stdout)
    assert f"{reports.__name__}.account" in loaded
    assert [name for name in loaded if name.split(".")[0] == "airflow"] == []
    parts = {".".join(name.split(".")[1:3]) for name in loaded if name.startswith("airflow_provider_adjust.s2s.")}
    assert parts.isdisjoint({"s2s.delivery", "s2s.schedule", "s2s.sender", "s2s.transports"})
