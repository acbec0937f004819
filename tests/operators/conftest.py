"""Lends the tests here the accounts at a local stand-in for Adjust, and a ledger."""

from operators.adjust_account import adjust, connect, said
from operators.old_ledger import ledger
from reconcile.reading_account import connect_reader
from reconcile.report_case import reporting

__all__ = ["adjust", "connect", "connect_reader", "ledger", "reporting", "said"]
