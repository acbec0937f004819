"""The largest amount that is sent. It catches cents or micros sent as units, which cannot be undone at Adjust."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_adjust.s2s.endpoints.endpoint import Endpoint
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.options import MaxRevenue


class RevenueLimit:
    """Refuses amounts above ``max_revenue``.

    :param max_revenue: one amount for all currencies, or an amount by currency; a currency without one has no limit.
    :raises AdjustConfigurationError: it is not an amount, or it names no currency.
    """

    def __init__(self, max_revenue: MaxRevenue, endpoint: Endpoint) -> None:
        self._amounts = endpoint.amounts
        self._for_all = None
        self._by_currency: dict[str, Decimal] = {}
        if isinstance(max_revenue, Mapping):
            self._by_currency = {
                _currency(currency, endpoint): _limit(limit, f"max_revenue[{currency!r}]")
                for currency, limit in max_revenue.items()
            }
        else:
            self._for_all = _limit(max_revenue, "max_revenue")

    def check(self, params: Mapping[str, str]) -> None:
        """Raise ``InvalidEvent`` if the event's amount is above the limit of its currency."""
        currency = params.get("currency", "")
        limit = self._by_currency.get(currency, self._for_all)
        if limit is None:
            return
        for name in self._amounts:
            if (sent := params.get(name)) is not None and Decimal(sent) > limit:
                raise InvalidEvent(
                    "above_max_revenue",
                    f"{name} is {Decimal(sent):,f} {currency}, above max_revenue, {limit:,f}; check that it is in units, not "
                    "in cents or micros",
                )


def _currency(currency: Any, endpoint: Endpoint) -> str:
    known = endpoint.parameters["currency"].choices if "currency" in endpoint.parameters else ()
    if not isinstance(currency, str) or currency.upper() not in known:
        raise AdjustConfigurationError(f"max_revenue names {currency!r}; give ISO 4217 codes, such as {{'EUR': 500}}")
    return currency.upper()


def _limit(value: Any, argument: str) -> Decimal:
    try:
        limit = Decimal(str(value).strip())
    except InvalidOperation:
        limit = Decimal(0)
    if isinstance(value, bool) or not limit.is_finite() or limit <= 0:
        raise AdjustConfigurationError(f"{argument} is {value!r}; give an amount above 0, such as 500")
    return limit
