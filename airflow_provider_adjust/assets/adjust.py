"""The URIs of Adjust's assets: ``adjust://<app token>/<event token>``, or ``adjust://<app token>`` for an app.

Other endpoints have their name in place of the event token: ``adjust://<app token>/ad_revenue``.

Airflow calls ``sanitize_uri`` for each asset with this scheme, so an invalid URI is an import error of its DAG.
Both tokens are names, not secrets. They keep their letter case, since Adjust distinguishes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.sdk import Asset

if TYPE_CHECKING:
    # The client of the OpenLineage provider, which is optional.
    from openlineage.client.event_v2 import Dataset

SCHEME = "adjust"
_TOKEN = re.compile(r"[A-Za-z0-9]+")
#: The name of an endpoint. No event token has an underscore.
_ENDPOINT = re.compile(r"[a-z]+(?:_[a-z]+)+")
_SHAPE = f"an asset of Adjust is {SCHEME}://<app token>/<event token>, or {SCHEME}://<app token> for a whole app"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the asset's URI in its normal form.

    :raises ValueError: the URI is not that of an Adjust asset. The message does not repeat it, since it may hold a secret.
    """
    if "@" in uri.netloc:
        raise ValueError(f"{_SHAPE}; this one has credentials, which belong in the connection")
    if uri.query or uri.fragment:
        raise ValueError(f"{_SHAPE}; this one has a query or a fragment; remove it")
    app_token, event_token = uri.netloc, uri.path.strip("/")
    if not _TOKEN.fullmatch(app_token):
        raise ValueError(
            f"{_SHAPE}; the app token of this one is missing or has other characters than letters and digits"
        )
    if event_token and not (_TOKEN.fullmatch(event_token) or _ENDPOINT.fullmatch(event_token)):
        raise ValueError(f"{_SHAPE}; the event token of this one has other characters than letters and digits")
    return SplitResult(SCHEME, app_token, f"/{event_token}" if event_token else "", "", "")


def create_asset(
    *, app_token: str, event_token: str | None = None, endpoint: str = "event", extra: dict[str, Any] | None = None
) -> Asset:
    """The asset of an event in an app, of another endpoint such as ``ad_revenue``, or of a whole app."""
    name = event_token if endpoint == "event" else endpoint
    path = f"/{name}" if name else ""
    return Asset(uri=f"{SCHEME}://{app_token}{path}", extra=extra)


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """The asset under its name in OpenLineage: ``<app token>/<event token>`` in the namespace ``adjust``."""
    from openlineage.client.event_v2 import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=SCHEME, name=f"{uri.netloc}{uri.path}")
