"""Lends the tests here an app at a local stand-in for Adjust."""

from reports.report_case import account, adjust, hold, pauses, service

__all__ = ["account", "adjust", "hold", "pauses", "service"]
