"""A SQL table of what was delivered."""
