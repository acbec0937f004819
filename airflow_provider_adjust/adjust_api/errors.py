"""The errors of reading reports, and the error of a report that differs from the warehouse."""

from __future__ import annotations

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, AdjustError


class ReportUnavailable(AdjustError):
    """The Report Service gave no report: it is busy, slow or cannot be reached. A later try may succeed."""


class ReportRefused(AdjustConfigurationError):
    """The Report Service refuses the request: the API token, the app or a parameter is wrong."""


class RevenueDiffers(AdjustError):
    """Adjust's report and the warehouse differ by more than the tolerance. A later try reads a later report."""
