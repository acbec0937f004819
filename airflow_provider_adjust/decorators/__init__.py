"""Decorators: functions that become tasks which send events to Adjust."""
