"""The URIs of Adjust's assets: one normal form each; other shapes are refused when the DAG is imported."""

from __future__ import annotations

import pytest
from airflow.sdk import Asset

from airflow_provider_adjust.assets.adjust import convert_asset_to_openlineage, create_asset

APP = "4w565xzmb54d"


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("adjust://4w565xzmb54d/f0ob4r", "adjust://4w565xzmb54d/f0ob4r"),
        ("adjust://4w565xzmb54d/f0ob4r/", "adjust://4w565xzmb54d/f0ob4r"),
        ("ADJUST://4w565xzmb54d/f0ob4r", "adjust://4w565xzmb54d/f0ob4r"),
        # Tokens are case-sensitive, unlike hosts.
        ("Adjust://4W565xzmb54d/F0ob4r", "adjust://4W565xzmb54d/F0ob4r"),
        ("adjust://4w565xzmb54d", "adjust://4w565xzmb54d"),
        ("adjust://4w565xzmb54d/", "adjust://4w565xzmb54d"),
    ],
)
def test_a_uri_is_brought_into_its_normal_form(given: str, uri: str) -> None:
    assert Asset("purchases", uri=given).uri == uri


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("adjust://s2sToken@4w565xzmb54d/f0ob4r", "credentials"),
        ("adjust://4w565xzmb54d/f0ob4r?environment=sandbox", "query"),
        ("adjust:///f0ob4r", "app token of this one is missing"),
        ("adjust://4w565xzmb54d:443/f0ob4r", "app token"),
        ("adjust://{your_app_token}/f0ob4r", "app token"),
        ("adjust://app.adjust.com/f0ob4r", "app token"),
        ("adjust://4w565xzmb54d/f0ob4r/eur", "event token"),
        ("adjust://4w565xzmb54d/f0 ob4r", "event token"),
        ("adjust://4w565xzmb54d/{{ params.event }}", "event token"),
        ("adjust://4w565xzmb54d/*", "event token"),
    ],
)
def test_the_error_of_another_shape_has_the_right_shape_and_not_the_given_uri(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Asset("purchases", uri=given)
    assert "adjust://<app token>/<event token>" in str(caught.value)
    assert given.partition("://")[2] not in str(caught.value)
    assert "s2sToken" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:An Asset URI should not contain a password")
def test_a_password_is_dropped_by_airflow_itself() -> None:
    assert Asset("purchases", uri="adjust://user:s2sToken@4w565xzmb54d/f0ob4r").uri == "adjust://4w565xzmb54d/f0ob4r"


@pytest.mark.parametrize(
    ("event_token", "uri", "name"),
    [("f0ob4r", f"adjust://{APP}/f0ob4r", f"{APP}/f0ob4r"), (None, f"adjust://{APP}", APP)],
)
def test_the_factory_and_openlineage_agree_on_the_tokens(event_token: str | None, uri: str, name: str) -> None:
    pytest.importorskip("openlineage")
    asset = create_asset(app_token=APP, event_token=event_token, extra={"currency": "USD"})
    assert (asset.uri, asset.extra) == (uri, {"currency": "USD"})
    dataset = convert_asset_to_openlineage(asset, None)
    assert (dataset.namespace, dataset.name) == ("adjust", name)


def test_airflows_openlineage_provider_translates_the_asset() -> None:
    utils = pytest.importorskip("airflow.providers.openlineage.utils.utils")
    dataset = utils.translate_airflow_asset(Asset("purchases", uri=f"adjust://{APP}/f0ob4r"), None)
    assert (dataset.namespace, dataset.name) == ("adjust", f"{APP}/f0ob4r")
