"""What the mapped tasks send: their common limit, and how many events each has."""

EVENTS_PER_SECOND = 60
EVENTS = (600, 300, 900, 450, 1200, 750, 1050, 900)
