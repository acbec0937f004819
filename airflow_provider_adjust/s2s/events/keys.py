"""The keys of digests: an event can be told from others by its digest, and only who has the key can guess what is in it.

Values such as a customer's number are few, so that a digest without a key is found by trial in seconds.
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
#: How ids of devices are written, but for those that are a text of the user's own.
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f-]{16,}").fullmatch


@dataclass(frozen=True, slots=True)
class DigestKey:
    """One key. Digests of two keys, and those of two purposes under one key, are never the same.

    ``id`` names the key where digests are kept, and does not reveal it. The key without a secret makes the digests of
    older versions.
    """

    id: str
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, given: bytes) -> DigestKey:
        """The key that is derived from a secret of any length."""
        secret = blake2b(given, digest_size=32, person=b"adjust-digests").digest()
        return cls(blake2b(secret, digest_size=4, person=b"adjust-key-id").hexdigest(), secret)

    def event_id(self, unkeyed_id: str) -> str:
        """The id of an event that has none of its own.

        :param unkeyed_id: the digest of what is sent, without a key. From it, the ids under other keys can be made, too.
        """
        if not self._secret:
            return unkeyed_id
        return blake2b(unkeyed_id.encode(), key=self._secret, digest_size=_SIZE, person=b"event-id").hexdigest()

    def content(self, text: str) -> int:
        """A number of 64 bits that tells a corrected event from the one that was sent."""
        digest = blake2b(text.encode(), key=self._secret, digest_size=_SIZE, person=self._purpose(b"content")).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def lane(self, id_name: str, id_value: str) -> int:
        """A number of 64 bits in place of a device's id."""
        text = f"{id_name}\x1f{id_value}".encode("utf-8", "backslashreplace")
        digest = blake2b(text, key=self._secret, digest_size=8, person=b"lane").digest()
        return int.from_bytes(digest, "big", signed=True)

    def device(self, id_name: str, id_value: str) -> str:
        """A digest of a device id, by which the device is known again and not found.

        Of an id in hexadecimal, it is one digest however its letters and hyphens are written.
        """
        value = id_value.replace("-", "").lower() if _HEXADECIMAL(id_value) else id_value
        text = f"{id_name}={value}"
        return blake2b(text.encode(), key=self._secret, digest_size=_SIZE, person=self._purpose(b"device")).hexdigest()

    def row(self, text: str) -> str:
        """The name of a row that is not an event."""
        content = text.encode("utf-8", "backslashreplace")
        return blake2b(content, key=self._secret, digest_size=_SIZE, person=self._purpose(b"row")).hexdigest()

    def fingerprint(self) -> Any:
        """A digest of many rows, to be updated with each."""
        return blake2b(key=self._secret, digest_size=_SIZE, person=self._purpose(b"fingerprint"))

    def _purpose(self, name: bytes) -> bytes:
        return name if self._secret else b""


#: Makes the digests that older versions made.
UNKEYED = DigestKey("", b"")


class DigestKeys:
    """The keys of one connection: the newest makes digests, the older ones recognise those that they made.

    Digests of older versions, which have no key, are recognised always. Without any key they are also what is made.

    :param secrets: the newest first; a single one may stand alone.
    :raises AdjustConfigurationError: a secret is empty.
    """

    def __init__(self, secrets: bytes | Sequence[bytes] = ()) -> None:
        given = (secrets,) if isinstance(secrets, bytes) else secrets
        if not all(given):
            raise AdjustConfigurationError("a digest key is empty; leave it out, or give a secret of 32 characters")
        self._set(DigestKey.of(secret) for secret in given)

    def _set(self, keys: Iterable[DigestKey]) -> None:
        #: Every key, the newest first.
        self.all: tuple[DigestKey, ...] = tuple({key.id: key for key in (*keys, UNKEYED)}.values())

    @classmethod
    def joined(cls, several: Iterable[DigestKeys]) -> DigestKeys:
        """The keys of several connections together. The first connection's newest is the newest."""
        joined = cls()
        joined._set(key for keys in several for key in keys.all if key is not UNKEYED)
        return joined

    @property
    def newest(self) -> DigestKey:
        """The key that makes digests."""
        return self.all[0]

    @property
    def secret(self) -> tuple[DigestKey, ...]:
        """The keys that have a secret, the newest first."""
        return tuple(key for key in self.all if key is not UNKEYED)

    def may_have_made(self, digests_of: str) -> bool:
        """Whether one of these keys may have made the digests of a try, which wrote down the ids of its keys."""
        ids = key_ids(digests_of)
        return not (ids - {UNKEYED.id} or ids).isdisjoint(key.id for key in self.all)


def key_ids(text: str) -> frozenset[str]:
    """The ids in a text that joins them with commas; that of no key is empty."""
    return frozenset(text.split(","))
