"""Lends the tests here a warehouse behind a proxy, and the account at a local stand-in for Adjust."""

from operators.adjust_account import adjust, connect, said
from sources.driver_hooks import warehouse

__all__ = ["adjust", "connect", "said", "warehouse"]
