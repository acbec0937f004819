"""The sandbox without the web: its settings, recorded events, requests in flight and the source of faults.

Only one event loop uses it, so it needs no locks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow_provider_adjust.sandbox.config import SandboxConfig
from airflow_provider_adjust.sandbox.exports import ExportPlan, ExportWriter
from airflow_provider_adjust.sandbox.faults import FaultSource, check_report_kind, parse_faults
from airflow_provider_adjust.sandbox.in_flight import InFlight
from airflow_provider_adjust.sandbox.report_totals import ReportTotals
from airflow_provider_adjust.sandbox.state import SandboxState


class Sandbox:
    """The parts that the endpoints share."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.state = SandboxState(keep_events=config.keep_events)
        self.in_flight = InFlight()
        self.totals = ReportTotals()
        self.faults = FaultSource(parse_faults(config.faults), config.fault_plan, config.seed)
        self.report_faults = _report_faults(config, config.report_fault_plan)
        self._export_writers: dict[Path, ExportWriter] = {}

    def reset(self) -> None:
        """Forget every event and counter, drop the rest of the fault plan, and restart the random faults."""
        # A request that is still in flight keeps the old objects, so it does not appear in the new ones.
        self.state = SandboxState(keep_events=self.config.keep_events)
        self.in_flight = InFlight()
        self.totals = ReportTotals()
        self.faults = FaultSource(parse_faults(self.config.faults), (), self.config.seed)
        self.report_faults = _report_faults(self.config, ())
        self._export_writers = {}

    def configure(self, changes: Mapping[str, object]) -> None:
        """Change settings. New faults, a new plan or a new seed also restart the random faults.

        :raises TypeError, ValueError: as `SandboxConfig`; the settings are then unchanged.
        """
        self.config = self.config.changed(changes)
        self.state.keep_events = self.config.keep_events
        if changes.keys() & {"faults", "fault_plan", "seed"}:
            plan = self.config.fault_plan if "fault_plan" in changes else self.faults.planned()
            self.faults = FaultSource(parse_faults(self.config.faults), plan, self.config.seed)
        if changes.keys() & {"report_faults", "report_fault_plan", "seed"}:
            given = "report_fault_plan" in changes
            self.report_faults = _report_faults(
                self.config, self.config.report_fault_plan if given else self.report_faults.planned()
            )

    def write_exports(self, folder: Path, plan: ExportPlan) -> list[str]:
        """Write what was recorded since the last call with the same folder; return the files' names."""
        writer = self._export_writers.setdefault(folder, ExportWriter(folder))
        return writer.write(self.state.events(0, None), plan)

    def stats(self) -> dict[str, object]:
        """Return all counters in a form for JSON."""
        return {
            **self.state.stats(),
            "max_concurrent": self.in_flight.max_concurrent,
            "max_concurrent_per_lane": self.in_flight.max_concurrent_per_lane,
        }


def _report_faults(config: SandboxConfig, plan: Sequence[str | None]) -> FaultSource:
    return FaultSource(parse_faults(config.report_faults, check_report_kind), plan, config.seed)
