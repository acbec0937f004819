"""Encrypts what a trigger keeps in Airflow's database, with what worker and triggerer both know: the connection."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken

from airflow_provider_adjust.airflow_versions import conf

if TYPE_CHECKING:
    from airflow.sdk import Connection

_SALT_BYTES = 16


class WrongKey(Exception):
    """The text was encrypted with another key."""


def key_material(connection: Connection) -> str:
    """What a key is derived from: the connection with its password and, where the process has it, Airflow's Fernet key."""
    return f"{connection.get_uri()}\n{conf.get('core', 'fernet_key', fallback='')}"


def encrypt_with(material: str, text: str) -> str:
    """The text, encrypted with a key of its own that is derived from the material."""
    salt = os.urandom(_SALT_BYTES)
    encrypted = _fernet(material, salt).encrypt(text.encode())
    return f"{base64.urlsafe_b64encode(salt).decode()}.{encrypted.decode()}"


def decrypt_with(material: str, encrypted: str) -> str:
    """What was encrypted.

    :raises WrongKey: the material is another, or the text is not as it was.
    """
    salt, _, token = encrypted.partition(".")
    try:
        return _fernet(material, base64.urlsafe_b64decode(salt)).decrypt(token.encode()).decode()
    except (InvalidToken, ValueError):
        raise WrongKey from None


def _fernet(material: str, salt: bytes) -> Fernet:
    # Slow on purpose: a connection's password may be one that can be guessed.
    key = hashlib.scrypt(material.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))
