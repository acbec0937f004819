"""Apache Airflow provider for Adjust's server-to-server (S2S) events API.

Airflow imports this package while it starts, so it holds the version and imports nothing.
"""

__version__ = "0.2.0"
