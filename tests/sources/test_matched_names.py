"""Columns have the names that the reader expects, whatever case the database returns."""

from __future__ import annotations

from airflow_provider_adjust.sources.names import match_names

PARAMETERS = {"revenue", "currency", "gps_adid", "created_at"}


def test_a_name_is_matched_in_its_own_case_first_and_then_in_any() -> None:
    for names, given, matched in [
        # Nobody knows them.
        (["order_id", "Total"], set(), ["order_id", "Total"]),
        (["ORDER_ID", "TOTAL"], set(), ["order_id", "total"]),
        (["ORDER_ID", "Total"], set(), ["ORDER_ID", "Total"]),
        # Snowflake with one alias in quotes.
        (["ORDER_ID", "REVENUE", "customId"], {"order_id", "customId"}, ["order_id", "revenue", "customId"]),
        (["CUSTOMID", "REVENUE"], {"customId"}, ["customId", "revenue"]),
        (["ORDER_ID", "REVENUE"], {"ORDER_ID"}, ["ORDER_ID", "revenue"]),
        # A database that folds to lower case.
        (["order_id", "gaid"], {"ORDER_ID", "GAID"}, ["ORDER_ID", "GAID"]),
        (["Revenue", "CURRENCY"], set(), ["revenue", "currency"]),
        # The option's own spelling wins over Adjust's.
        (["REVENUE"], {"REVENUE"}, ["REVENUE"]),
        (["Revenue"], {"REVENUE"}, ["REVENUE"]),
        # Two columns, or two names, between which nobody can choose.
        (["Revenue", "REVENUE"], set(), ["Revenue", "REVENUE"]),
        (["revenue", "REVENUE"], set(), ["revenue", "REVENUE"]),
        (["id"], {"Id", "ID"}, ["id"]),
        (["REVENUE", "REVENUE"], set(), ["revenue", "revenue"]),
    ]:
        assert match_names(names, [given, PARAMETERS]) == matched, (names, given)
