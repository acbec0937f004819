"""Sensors: tasks that wait for something to be so in Adjust."""
