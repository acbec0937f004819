"""Operators: tasks that send events to Adjust."""
