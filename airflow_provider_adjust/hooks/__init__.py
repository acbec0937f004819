"""Hooks: the connection to Adjust, and what can be done through it."""
