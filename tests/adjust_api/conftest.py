"""Lends the tests here an app at a local stand-in for Adjust, and a certificate."""

from reconcile.report_case import account, hold, pauses, reporting, service
from s2s.conftest import certificate, tls

__all__ = ["account", "certificate", "hold", "pauses", "reporting", "service", "tls"]
