"""Lends the tests here an app at a local stand-in for Adjust, and a certificate."""

from reconcile.report_case import client, pauses, reporting, run, service
from s2s.conftest import certificate, tls

__all__ = ["certificate", "client", "pauses", "reporting", "run", "service", "tls"]
