"""Keys for digests. A digest identifies an event; only a holder of the key can test guesses about what it contains.

Without a key, a digest of a short value, such as a customer's number, can be reversed by trial in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError

#: Bytes of a digest.
_SIZE = 16
#: The form of device ids, except those that are free text of the user.
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f-]{16,}").fullmatch


@dataclass(frozen=True, slots=True)
class DigestKey:
    """One key. Digests of different keys, or of different purposes under one key, never agree.

    ``id`` identifies the key beside stored digests, and does not reveal it. The key without a secret makes the digests of older
    versions.
    """

    id: str
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, given: bytes) -> DigestKey:
        """Derive the key from a secret of any length."""
        secret = blake2b(given, digest_size=32, person=b"adjust-digests").digest()
        return cls(blake2b(secret, digest_size=4, person=b"adjust-key-id").hexdigest(), secret)

    def event_id(self, unkeyed_id: str) -> str:
        """The id of an event that has no id in its row.

        :param unkeyed_id: the digest of the parameters, without a key. The ids under other keys derive from it, too.
        """
        if not self._secret:
            return unkeyed_id
        return blake2b(unkeyed_id.encode(), key=self._secret, digest_size=_SIZE, person=b"event-id").hexdigest()

    def content(self, text: str) -> int:
        """A 64-bit digest of what is sent; it differs for a corrected event."""
        digest = blake2b(text.encode(), key=self._secret, digest_size=_SIZE, person=self._purpose(b"content")).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def lane(self, id_name: str, id_value: str) -> int:
        """A 64-bit digest in place of a device's id."""
        text = f"{id_name}\x1f{id_value}".encode("utf-8", "backslashreplace")
        digest = blake2b(text, key=self._secret, digest_size=8, person=b"lane").digest()
        return int.from_bytes(digest, "big", signed=True)

    def device(self, id_name: str, id_value: str) -> str:
        """A digest that recognises a device id without revealing it.

        An id in hexadecimal has one digest, whatever its case and hyphens.
        """
        value = id_value.replace("-", "").lower() if _HEXADECIMAL(id_value) else id_value
        text = f"{id_name}={value}"
        return blake2b(text.encode(), key=self._secret, digest_size=_SIZE, person=self._purpose(b"device")).hexdigest()

    def row(self, text: str) -> str:
        """The digest that names a row which is not an event."""
        content = text.encode("utf-8", "backslashreplace")
        return blake2b(content, key=self._secret, digest_size=_SIZE, person=self._purpose(b"row")).hexdigest()

    def fingerprint(self) -> Any:
        """A digest of many rows, updated with each row."""
        return blake2b(key=self._secret, digest_size=_SIZE, person=self._purpose(b"fingerprint"))

    def _purpose(self, name: bytes) -> bytes:
        return name if self._secret else b""


#: Makes the digests that older versions made.
UNKEYED = DigestKey("", b"")


class DigestKeys:
    """The keys of one connection: the newest makes digests, the older ones recognise the digests that they made.

    Digests of older versions, made without a key, are always recognised. Without any secret, new digests have no key either.

    :param secrets: newest first; or a single secret.
    :raises AdjustConfigurationError: a secret is empty.
    """

    def __init__(self, secrets: bytes | Sequence[bytes] = ()) -> None:
        given = (secrets,) if isinstance(secrets, bytes) else secrets
        if not all(given):
            raise AdjustConfigurationError("a digest key is empty; leave it out, or give a secret of 32 characters")
        self._set(DigestKey.of(secret) for secret in given)

    def _set(self, keys: Iterable[DigestKey]) -> None:
        #: Every key, newest first.
        self.all: tuple[DigestKey, ...] = tuple({key.id: key for key in (*keys, UNKEYED)}.values())

    @classmethod
    def joined(cls, several: Iterable[DigestKeys]) -> DigestKeys:
        """Join the keys of several connections. The newest key is that of the first connection."""
        joined = cls()
        joined._set(key for keys in several for key in keys.all if key is not UNKEYED)
        return joined

    @property
    def newest(self) -> DigestKey:
        """The key that makes digests."""
        return self.all[0]

    @property
    def secret(self) -> tuple[DigestKey, ...]:
        """The keys that have a secret, newest first."""
        return tuple(key for key in self.all if key is not UNKEYED)

    def may_have_made(self, digests_of: str) -> bool:
        """Whether one of these keys may have made the digests of a try that recorded these key ids."""
        ids = key_ids(digests_of)
        return not (ids - {UNKEYED.id} or ids).isdisjoint(key.id for key in self.all)


def key_ids(text: str) -> frozenset[str]:
    """The key ids in a comma-separated text; the id of the key without a secret is empty."""
    return frozenset(text.split(","))
