"""Transports: requests in, completions out, in the order in which they end."""

from airflow_provider_adjust.s2s.transports.base import Completion, Failure, Target, Transport

__all__ = ["Completion", "Failure", "Target", "Transport"]
