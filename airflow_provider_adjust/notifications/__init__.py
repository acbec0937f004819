"""Notifications: what became of a delivery, told to people."""
