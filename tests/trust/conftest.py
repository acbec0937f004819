"""Lends the tests here what those of the protocol and of the operators stand on."""

from operators.adjust_account import adjust, connect, said
from s2s.conftest import certificate

__all__ = ["adjust", "certificate", "connect", "said"]
