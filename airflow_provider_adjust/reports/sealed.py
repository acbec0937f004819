"""A device id on its way through Airflow's database, readable only for who has the API token anyway."""

from __future__ import annotations

import base64
from hashlib import blake2b

from cryptography.fernet import Fernet, InvalidToken

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError


def seal(text: str, api_token: str) -> str:
    """Encrypt the text."""
    return _fernet(api_token).encrypt(text.encode()).decode()


def unseal(sealed: str, api_token: str) -> str:
    """Decrypt what ``seal`` returned.

    :raises AdjustConfigurationError: it was sealed with another API token.
    """
    try:
        return _fernet(api_token).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise AdjustConfigurationError(
            "the connection's API token was changed while the task waited; clear the task, so that it waits anew"
        ) from None


def _fernet(api_token: str) -> Fernet:
    # The token is long and random, so one digest makes a good key of it.
    return Fernet(
        base64.urlsafe_b64encode(blake2b(api_token.encode(), digest_size=32, person=b"adjust-device").digest())
    )
