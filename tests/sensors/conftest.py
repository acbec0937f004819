"""Lends the tests here an app at a local stand-in for Adjust, a connection with an API token, and what was logged."""

from operators.adjust_account import said
from reconcile.reading_account import connect_reader
from reconcile.report_case import reporting

__all__ = ["connect_reader", "reporting", "said"]
