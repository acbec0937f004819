"""The transport for each name, with and without libcurl."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pytest

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.transports import Transport
from airflow_provider_adjust.s2s.transports.choice import TransportName, open_transport
from airflow_provider_adjust.s2s.transports.curl import CurlTransport
from airflow_provider_adjust.s2s.transports.requests import RequestsTransport


def kind_of(name: str) -> type[Transport]:
    transport = open_transport(name, max_in_flight=1, timeout=(5.0, 5.0))  # type: ignore[arg-type]
    transport.close()
    return type(transport)


class _Broken(MetaPathFinder):
    """A pycurl that is installed and does not fit the libcurl that it finds."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pycurl":
            raise ImportError("pycurl: libcurl link-time ssl backend (gnutls) is different from compile-time")


@pytest.fixture(params=["not installed", "broken"])
def without_pycurl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "broken":
        monkeypatch.delitem(sys.modules, "pycurl")
        monkeypatch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
    else:
        monkeypatch.setitem(sys.modules, "pycurl", None)


@pytest.mark.parametrize(
    ("name", "kind"), [("auto", CurlTransport), ("curl", CurlTransport), ("requests", RequestsTransport)]
)
def test_with_pycurl_libcurl_is_the_first_choice(name: TransportName, kind: type[Transport]) -> None:
    assert kind_of(name) is kind


@pytest.mark.usefixtures("without_pycurl")
@pytest.mark.parametrize("name", ["auto", "requests"])
def test_without_pycurl_requests_sends(name: TransportName) -> None:
    assert kind_of(name) is RequestsTransport


@pytest.mark.usefixtures("without_pycurl")
def test_without_pycurl_asking_for_it_says_what_to_install() -> None:
    with pytest.raises(AdjustConfigurationError, match=r"cannot be imported \(.+\): pip install pycurl"):
        kind_of("curl")


@pytest.mark.parametrize("name", ["", "Curl", "httpx", None])
def test_any_other_name_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(AdjustConfigurationError, match=f"one of auto, curl, requests, not {name!r}"):
        kind_of(name)
