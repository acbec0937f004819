"""Measurements of speed and of size: `make bench` and `make bench BENCH=scale`."""
