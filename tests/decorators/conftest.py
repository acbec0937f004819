"""Lends the tests here the account at a local stand-in for Adjust."""

from operators.adjust_account import adjust, connect, said

__all__ = ["adjust", "connect", "said"]
