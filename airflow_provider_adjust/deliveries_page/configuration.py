"""Which ledgers the page shows: Airflow's option ``[adjust] ledger_conn_ids``."""

from __future__ import annotations

from airflow.configuration import conf

SECTION, OPTION = "adjust", "ledger_conn_ids"


def ledger_conn_ids() -> list[str]:
    """The connections to ledgers, in the order in which they are written; none by default."""
    written = conf.get(SECTION, OPTION, fallback="") or ""
    return list(dict.fromkeys(name.strip() for name in written.split(",") if name.strip()))
