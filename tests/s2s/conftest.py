"""What several tests of the protocol need."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from s2s.certificates import make_certificate, shown_by_a_server

from airflow_provider_adjust.s2s.answers import classify
from airflow_provider_adjust.s2s.events import event, parser


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """Clear the caches, so that no test depends on another test's answers."""
    for module in (classify, event, parser):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for this machine, with its key."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """How a server shows the certificate."""
    return shown_by_a_server(certificate)
