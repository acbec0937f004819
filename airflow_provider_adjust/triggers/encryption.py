"""Encrypt a trigger's data in Airflow's database with a secret that worker and triggerer share: the connection."""

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
    """The material of a key: the connection with its password and, if the process has it, Airflow's Fernet key."""
    return f"{connection.get_uri()}\n{conf.get('core', 'fernet_key', fallback='')}"


def encrypt_with(material: str, text: str) -> str:
    """Encrypt the text with a new key, derived from the material and a salt."""
    salt = os.urandom(_SALT_BYTES)
    encrypted = _fernet(material, salt).encrypt(text.encode())
    return f"{base64.urlsafe_b64encode(salt).decode()}.{encrypted.decode()}"


def decrypt_with(material: str, encrypted: str) -> str:
    """Decrypt the text.

    :raises WrongKey: the material differs, or the text was changed.
    """
    salt, _, token = encrypted.partition(".")
    try:
        return _fernet(material, base64.urlsafe_b64decode(salt)).decrypt(token.encode()).decode()
    except (InvalidToken, ValueError):
        raise WrongKey from None


def _fernet(material: str, salt: bytes) -> Fernet:
    # Slow on purpose: a connection's password may be guessable.
    key = hashlib.scrypt(material.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))
