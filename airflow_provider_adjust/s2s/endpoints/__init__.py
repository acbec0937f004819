"""Adjust's endpoints as values."""
