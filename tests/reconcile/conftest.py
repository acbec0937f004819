"""Lends the tests here an app at a local stand-in for Adjust."""

from reconcile.report_case import account, hold, pauses, reporting, service

__all__ = ["account", "hold", "pauses", "reporting", "service"]
