"""One row in, one event out."""
