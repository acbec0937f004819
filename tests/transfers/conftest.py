"""Lends the tests here the account at a local stand-in for Adjust, and a warehouse."""

from operators.adjust_account import adjust, connect, said
from transfers.warehouse import calls, sqlite_path, warehouse

__all__ = ["adjust", "calls", "connect", "said", "sqlite_path", "warehouse"]
