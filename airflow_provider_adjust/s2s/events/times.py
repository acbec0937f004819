"""Read the time of an event, in every form that warehouses give, as an aware datetime.

Adjust's pages write ``created_at`` in three ways and contradict each other on milliseconds. So the provider reads all of them,
and always sends ``created_at_unix`` in whole seconds (Adjust S2S events, event timestamp).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

import pendulum

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError, InvalidEvent
from airflow_provider_adjust.s2s.events.values import real_decimal, refuse
from airflow_provider_adjust.s2s.redaction import quote

_EPOCH_TEXT = re.compile(r"[0-9]+(?:\.[0-9]+)?")
#: What may follow a time of day: UTC, or an offset. Adjust writes a Z before the offset; then the offset counts.
_ZONE = r"(?: ?(?:[Zz]|[Uu][Tt][Cc]|Z?[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?))"
#: The accepted forms of a time. A library that accepts more of them misreads some.
_TIME = re.compile(
    r"((?:[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)"
    r"|(?:[0-9]{8}[Tt](?:[01][0-9]|2[0-3])[0-9]{2}(?:[0-9]{2}(?:[.,][0-9]+)?)?))"
    rf"({_ZONE})?"
)
_BARE_DATE = re.compile(rf"(?:[0-9]{{4}}-?[0-9]{{2}}-?[0-9]{{2}}|[0-9]{{4}}-?W[0-9]{{2}}(?:-?[0-9])?){_ZONE}?")
#: The longest time in characters; most of them may be digits of the fraction.
_LONGEST = 200
#: Epoch seconds lie between 2001 and 5138. Larger numbers are milliseconds or finer; smaller ones are not times of events.
_FIRST_SECOND = Decimal(1_000_000_000)
_FIRST_MILLISECOND = Decimal(100_000_000_000)
_EXAMPLE = "give ISO 8601 text such as 2026-05-01T12:30:00+00:00"


def load_timezone(name: str) -> tzinfo:
    """Load the time zone for times without an offset, by its IANA name."""
    try:
        return pendulum.timezone(name)
    except (ValueError, TypeError, OSError, LookupError):
        raise AdjustConfigurationError(f"timezone {name!r} is not an IANA name such as UTC or Europe/Berlin") from None


def read_time(name: str, value: Any, zone: tzinfo) -> datetime:
    """Return the time in UTC, with its full precision."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        raise _bare_date(name)
    elif isinstance(value, str):
        moment = _read_text(name, value.strip())
    elif isinstance(value, bool):
        raise refuse(name, "is a boolean; give a time")
    elif isinstance(value, Real | Decimal):
        moment = _read_epoch(name, value)
    else:
        raise refuse(name, f"is a {type(value).__name__}; give a timestamp, ISO 8601 text or epoch seconds")
    try:
        moment = (moment if moment.tzinfo else _local(name, moment, zone)).astimezone(UTC)
    except InvalidEvent:
        raise
    except (OverflowError, ValueError):
        raise refuse(name, "is out of the calendar's range") from None
    if type(moment) is datetime:
        return moment
    # pandas and pendulum return subclasses, which compare more slowly and have another str().
    return datetime.combine(moment.date(), moment.time(), UTC)


def is_at_a_change(local: datetime, zone: tzinfo) -> bool:
    """Whether the zone's clocks show this time twice or never, so that it is ambiguous without ``fold``."""
    plain = datetime.combine(local.date(), local.time())
    return not plain.fold and zone.utcoffset(plain) != zone.utcoffset(plain.replace(fold=1))


def _local(name: str, local: datetime, zone: tzinfo) -> datetime:
    if is_at_a_change(local, zone):
        raise refuse(name, f"is {local:%Y-%m-%d %H:%M:%S}, where the clocks of {zone} change; give UTC or an offset")
    return local.replace(tzinfo=zone)


def _read_text(name: str, text: str) -> datetime:
    if len(text) > _LONGEST:
        raise refuse(name, f"is {len(text):,} characters long; {_EXAMPLE}")
    if _EPOCH_TEXT.fullmatch(text):
        return _read_epoch(name, Decimal(text))
    found = _TIME.fullmatch(text)
    if found is None:
        if _BARE_DATE.fullmatch(text):
            raise _bare_date(name)
        raise refuse(name, f"is {quote(text)}; {_EXAMPLE}")
    local, suffix = found.groups()
    try:
        moment = datetime.fromisoformat(local)
        return moment.replace(tzinfo=_offset(suffix)) if suffix else moment
    except ValueError:
        raise refuse(name, f"is {quote(text)}, which is not in the calendar; {_EXAMPLE}") from None


@lru_cache(maxsize=1024)
def _offset(suffix: str) -> tzinfo:
    """The time zone of a suffix that the pattern has matched."""
    digits = suffix.strip(" Zz+-").replace(":", "")
    if not digits.isdecimal():
        return UTC
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-offset if "-" in suffix else offset)


def _read_epoch(name: str, value: Real | Decimal) -> datetime:
    seconds = Decimal(int(value)) if isinstance(value, Integral) else real_decimal(value)
    if seconds is None or not seconds.is_finite() or seconds < _FIRST_SECOND:
        raise refuse(name, f"is {quote(str(value))}, which is not an epoch time in seconds of this century")
    if seconds >= _FIRST_MILLISECOND:
        raise refuse(
            name, "is in milliseconds or finer; Adjust takes seconds: divide it by 1000 (or 1000000) in the query"
        )
    whole = int(seconds)
    # Subtraction rounds to 28 digits, so many nines would become a whole second.
    microsecond = min(999_999, int((seconds - whole) * 1_000_000))
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=microsecond)


def _bare_date(name: str) -> InvalidEvent:
    return refuse(name, "is a date without a time of day; cast it to a timestamp, at midnight if you mean that")
