"""Lends the tests here what those of the operators stand on."""

from cli.conftest import cli, file_of
from operators.adjust_account import adjust, connect, said

__all__ = ["adjust", "cli", "connect", "file_of", "said"]
