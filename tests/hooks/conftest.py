"""Lends the tests here the accounts at a local stand-in for Adjust."""

from operators.adjust_account import adjust, connect, said
from reconcile.reading_account import connect_reader
from reconcile.report_case import reporting

__all__ = ["adjust", "connect", "connect_reader", "reporting", "said"]
