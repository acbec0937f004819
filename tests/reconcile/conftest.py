"""Lends the tests here an app at a local stand-in for Adjust."""

from reconcile.report_case import client, pauses, reporting, run, service

__all__ = ["client", "pauses", "reporting", "run", "service"]
