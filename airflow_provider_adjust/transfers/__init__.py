"""Transfers: tasks that move rows from somewhere else to Adjust."""
