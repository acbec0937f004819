"""`contract`: a properties file of dbt for the columns that a task sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from airflow_provider_adjust.s2s.endpoints.endpoint import AD_REVENUE, EVENT

Cli = Callable[..., Any]


def model_of(text: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The model of a properties file, and its columns by name."""
    properties = yaml.safe_load(text)
    assert properties["version"] == 2
    [model] = properties["models"]
    return model, {column["name"]: column for column in model["columns"]}


def test_the_contract_of_a_purchase_has_types_constraints_and_tests(cli: Cli) -> None:
    done = cli("contract", "--format", "dbt", "--id-field", "order_id")
    assert (done.code, done.err) == (0, "")
    model, columns = model_of(done.out)
    assert (model["name"], model["config"]) == ("adjust_purchases", {"contract": {"enforced": True}})
    assert {name: column["data_type"] for name, column in columns.items()} == {
        "order_id": "string",
        "created_at": "timestamp",
        "revenue": "numeric(18, 3)",
        "currency": "string",
        "gps_adid": "string",
        "idfa": "string",
        "os_name": "string",
    }
    assert columns["order_id"]["constraints"] == columns["created_at"]["constraints"] == [{"type": "not_null"}]
    assert columns["order_id"]["data_tests"] == ["unique"]
    assert columns["revenue"]["constraints"][0]["expression"] == "revenue >= 0.001"
    [accepted] = columns["os_name"]["data_tests"]
    assert {"ios", "android"} <= set(accepted["accepted_values"]["arguments"]["values"])
    assert "constraints" not in columns["gps_adid"], "a buyer may have another device id"
    assert all(column["description"] for column in columns.values())


def test_the_columns_are_those_that_are_named(cli: Cli) -> None:
    columns = ("contract_id", "period", "event", "GAID", "created_at_unix", "user_agent", "callback_params", "note")
    options = [*("--id-field", "contract_id", "--id-field", "period", "--event-tokens", "renewal=f0ob4r")]
    options += [*("--column-map", "GAID=gps_adid", "--ignore-columns", "note", "--model", "renewals")]
    done = cli("contract", *columns, *options)
    assert (done.code, done.err) == (0, "")
    model, found = model_of(done.out)
    assert (model["name"], tuple(found)) == ("renewals", columns)
    assert found["created_at_unix"]["data_type"] == "bigint"
    assert found["GAID"]["description"] == EVENT.parameters["gps_adid"].description
    # Neither of the two is unique by itself.
    assert not any("data_tests" in found[name] for name in ("contract_id", "period"))


def test_the_types_follow_the_kinds_of_the_parameters(cli: Cli) -> None:
    flags = [name for name, parameter in EVENT.parameters.items() if parameter.kind == "flag"][:1]
    counts = [name for name, parameter in EVENT.parameters.items() if parameter.kind == "integer"][:1]
    done = cli("contract", "created_at", "adid", *flags, *counts)
    _, found = model_of(done.out)
    assert [found[name]["data_type"] for name in (*flags, *counts)] == ["boolean", "bigint"]


def test_each_endpoint_has_its_own_contract(cli: Cli) -> None:
    done = cli("contract", "--endpoint", "ad_revenue", "--id-field", "impression_id")
    assert (done.code, done.err) == (0, "")
    _, found = model_of(done.out)
    # A thousandth would round most of what single ads earn to nothing.
    assert found["revenue"]["data_type"] == "numeric(38, 9)"
    assert "constraints" not in found["revenue"]
    assert found["ad_impressions_count"]["data_type"] == "bigint"
    assert found["ad_impressions_count"]["constraints"] == [{"type": "not_null"}]
    assert found["created_at"]["description"] == AD_REVENUE.parameters["created_at"].description
    done = cli("contract", "--endpoint", "third_party_sharing")
    assert (done.code, done.err) == (0, "")
    _, found = model_of(done.out)
    assert found["sharing"]["constraints"] == [{"type": "not_null"}]
    done = cli("contract", "--endpoint", "ad_revenue", "created_at", "event_token", "adid")
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("created_at", "gps_adid", "amuont"), "unknown columns: 'amuont'"),
        (("created_at", "revenue", "gps_adid"), "missing: currency, which revenue needs"),
        (("revenue", "currency"), "missing: a device id"),
    ],
)
def test_columns_that_could_not_be_sent_have_no_contract(cli: Cli, columns: tuple[str, ...], words: str) -> None:
    done = cli("contract", *columns)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "event_token" not in done.err


def test_a_name_is_text_of_yaml_whatever_it_holds(cli: Cli) -> None:
    columns = ("created_at", "adid", "no: # 'x'", "total in EUR", "currency")
    options = ("--column-map", "total in EUR=revenue", "--ignore-columns", "no: # 'x'", "--model", "a: b")
    done = cli("contract", *columns, *options)
    model, found = model_of(done.out)
    assert (model["name"], tuple(found)) == ("a: b", columns)
    # A name that SQL would not read as one has no expression.
    assert "constraints" not in found["total in EUR"]
