"""Count the events when tasks are killed, and when everything around them fails: `make crashes`, `make faults`."""
