"""What reads from Adjust loads neither Airflow nor anything that sends."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

from airflow_provider_adjust import adjust_api, reconcile

MODULES = [
    module.name
    for package in (adjust_api, reconcile)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]


def test_nothing_of_airflow_and_nothing_that_sends_is_loaded() -> None:
    """Checked in a process of its own: here, other tests may have loaded both."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = json.loads(done.stdout)
    assert f"{reconcile.__name__}.report_client" in loaded
    assert [name for name in loaded if name.split(".")[0] == "airflow"] == []
    sending = {"airflow_provider_adjust.s2s.delivery", "airflow_provider_adjust.s2s.transports.choice"}
    assert sending.isdisjoint(loaded)
