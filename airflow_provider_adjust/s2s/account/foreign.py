"""Report events that were not sent because the ledger has them from another DAG.

The ledger trusts every DAG that may write to it: once a DAG has recorded an event, no other DAG sends it. That is right if the
DAGs share the work. If not, revenue is missing, and only this report shows it.
"""

from __future__ import annotations

import logging

from airflow_provider_adjust.s2s.account.summary import DeliverySummary
from airflow_provider_adjust.s2s.account.tables import money
from airflow_provider_adjust.s2s.answers.outcome import OnForeignClaim
from airflow_provider_adjust.s2s.errors import ClaimedByAnotherDag
from airflow_provider_adjust.s2s.redaction import escape

#: The most DAGs that a message names.
_NAMED = 3
_LONGEST_NAME = 80
_log = logging.getLogger(__name__)


def check_foreign_claims(summary: DeliverySummary, on_foreign_claim: OnForeignClaim) -> None:
    """Warn of such events, or fail, after everything else was sent.

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
