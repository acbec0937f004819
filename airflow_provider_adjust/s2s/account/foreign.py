"""What is said and done about events that were not sent because the ledger has them from another DAG.

The ledger believes every DAG that may write to it, so a DAG that records an event keeps all others from sending it. That
is right where two DAGs share the work. Where they do not, revenue is missing, and nobody else would notice.
"""

from __future__ import annotations

import logging

from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import money
from airflow_provider_adjust.s2s.answers.outcome import OnForeignClaim
from airflow_provider_adjust.s2s.errors import ClaimedByAnotherDag
from airflow_provider_adjust.s2s.redaction import escape

#: DAGs that a message names.
_NAMED = 3
_LONGEST_NAME = 80
_log = logging.getLogger(__name__)


def check_foreign_claims(summary: DeliverySummary, on_foreign_claim: OnForeignClaim) -> None:
    """Warn of them, or fail, once nothing is left to send.

    :raises ClaimedByAnotherDag: there are some, and ``on_foreign_claim`` is ``error``.
    """
    if not summary.claimed_by or on_foreign_claim == "allow":
        return
    message = _message(summary)
    if on_foreign_claim == "error":
        raise ClaimedByAnotherDag(message)
    _log.warning("%s", message)


def _message(summary: DeliverySummary) -> str:
    amounts = money(summary.claimed_revenue)
    worth = f" ({amounts})" if amounts else ""
    names = [_name(dag) for dag, _ in summary.claimed_by.most_common(_NAMED)]
    more = len(summary.claimed_by) - len(names)
    senders = ", ".join(names) + (f" and {more} more" if more else "")
    return (
        f"{summary.claimed_by.total():,} events{worth} were not sent, because the ledger has them from {senders}. If that is "
        'wrong, give this DAG a ledger of its own; if it is right, set on_foreign_claim="allow"'
    )


def _name(dag_id: str) -> str:
    return f"DAG {escape(dag_id, _LONGEST_NAME)}" if dag_id else "a sender outside Airflow's DAGs"
