"""A short lease of the ledger's claims, so that a campaign need not wait long until a claim expires."""

from __future__ import annotations

import pkgutil
from datetime import timedelta
from importlib import import_module

#: The constants for the length of a lease, and the interval of its renewals.
LEASES = ("CLAIM_EXPIRES", "LEASE", "LEASE_SECONDS", "LOST_AFTER")
SIGNS = ("HEARTBEAT_EVERY", "HEARTBEAT_SECONDS", "RENEW_EVERY")


def shorten_leases(seconds: float) -> None:
    """Shorten them in every module of the ledger.

    :raises LookupError: there is none of that name, so a story about claims of a live worker would show nothing.
    """
    from airflow_provider_adjust.s2s import ledger

    changed = 0
    for found in pkgutil.iter_modules(ledger.__path__, f"{ledger.__name__}."):
        module = import_module(found.name)
        for names, value in ((LEASES, seconds), (SIGNS, seconds / 5)):
            for name in names:
                if (present := getattr(module, name, None)) is not None:
                    setattr(module, name, timedelta(seconds=value) if isinstance(present, timedelta) else value)
                    changed += name in LEASES
    if not changed:
        raise LookupError(f"no constant of the ledger is called {' or '.join(LEASES)}")
