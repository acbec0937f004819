"""How fast and how large, measured: `make bench` and `make scale`."""
