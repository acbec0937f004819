"""Lends the tests here what those of the operators stand on."""

from operators.adjust_account import adjust, connect, said

__all__ = ["adjust", "connect", "said"]
