"""How bytes travel: requests go in, completions come out, in whatever order they end."""

from airflow_provider_adjust.s2s.transports.base import Completion, Failure, Target, Transport

__all__ = ["Completion", "Failure", "Target", "Transport"]
