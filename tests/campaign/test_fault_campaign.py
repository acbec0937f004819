"""No fault and no outage loses an event, sends one twice that was never in doubt, or leaves a task green over a missing one:
`make faults`, in short.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from running_campaign import run


@pytest.mark.slow
@pytest.mark.airflow
def test_every_fault_and_every_outage(tmp_path: Path) -> None:
    output = run("faults", "--events", "6000", "--keep", str(tmp_path / "campaign"), seconds=3600)
    assert "nothing lost, nothing twice without doubt, nothing silently green" in output
