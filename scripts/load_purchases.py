"""Load the CDNOW purchases into a warehouse, moved into the last seven days.

The data set has a day and a customer for each purchase. What Adjust needs besides is derived from those, so that every
load gives the same rows for the same day:

- a time: the 546 days become the seven days before ``until``, and purchases keep their order;
- ads: a customer who buys has seen one, and every fourth of them is an impression with what it has earned;
- device ids: three in five customers have an Android phone, the others an iPhone, and every third also has an adid.
"""

from __future__ import annotations

import argparse
import csv
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import sqlalchemy as sa

SOURCE = Path(__file__).parent.parent / "example_dags" / "data" / "cdnow_purchases.csv"
FIRST_DAY = date(1997, 1, 1)
DAYS = 546
NIGHTS = 7
_DEVICES = uuid.UUID("6f1d2f0e-3f0c-5b5e-9a39-5b2f6c1d7a10")

metadata = sa.MetaData()
customers = sa.Table(
    "customers",
    metadata,
    sa.Column("customer_id", sa.String(5), primary_key=True),
    sa.Column("os_name", sa.String(10), nullable=False),
    sa.Column("gps_adid", sa.String(36)),
    sa.Column("idfa", sa.String(36)),
    sa.Column("adid", sa.String(32)),
)
purchases = sa.Table(
    "purchases",
    metadata,
    sa.Column("order_id", sa.String(20), primary_key=True),
    sa.Column("customer_id", sa.String(5), nullable=False),
    sa.Column("purchased_at", sa.String(19), nullable=False, index=True),
    sa.Column("amount", sa.Numeric(12, 2, asdecimal=False), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("loaded_at", sa.String(19), nullable=False),
)
ad_impressions = sa.Table(
    "ad_impressions",
    metadata,
    sa.Column("impression_id", sa.String(20), primary_key=True),
    sa.Column("customer_id", sa.String(5), nullable=False),
    sa.Column("shown_at", sa.String(19), nullable=False, index=True),
    sa.Column("revenue", sa.Numeric(20, 10, asdecimal=False), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("network", sa.String(20), nullable=False),
    sa.Column("ad_unit", sa.String(20), nullable=False),
    sa.Column("placement", sa.String(20), nullable=False),
)


def customer_row(customer_id: str) -> dict[str, Any]:
    number = crc32(customer_id.encode())
    device = uuid.uuid5(_DEVICES, customer_id)
    android = number % 5 < 3
    return {
        "customer_id": customer_id,
        "os_name": "android" if android else "ios",
        "gps_adid": str(device) if android else None,
        "idfa": None if android else str(device).upper(),
        "adid": uuid.uuid5(_DEVICES, f"adid {customer_id}").hex if number % 3 == 0 else None,
    }


def purchase_rows(until: datetime) -> Iterator[dict[str, Any]]:
    """The purchases with their new times, the last one just before ``until``."""
    by_day: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with SOURCE.open(newline="") as file:
        for line in csv.DictReader(file):
            by_day[line["customer_id"], line["purchased_on"]].append(line)
    start = until - timedelta(days=NIGHTS)
    scale = NIGHTS / DAYS
    number = 0
    for (customer_id, day), lines in sorted(by_day.items()):
        offset = (date.fromisoformat(day) - FIRST_DAY).days
        part = crc32(f"{customer_id} {day}".encode()) / 2**32
        for place, line in enumerate(lines):
            number += 1
            moment = start + timedelta(days=(offset + (place + part) / len(lines)) * scale)
            yield {
                "order_id": f"{offset:03}-{number:05}",
                "customer_id": customer_id,
                "purchased_at": _text(moment),
                "amount": float(Decimal(line["amount_usd"])),
                "currency": "USD",
                "loaded_at": _text(moment),
            }


def impression_row(purchase: dict[str, Any]) -> dict[str, Any]:
    """An ad shown at the time of a purchase, which has earned less than a tenth of a cent."""
    number = crc32(purchase["order_id"].encode())
    return {
        "impression_id": f"ad-{purchase['order_id']}",
        "customer_id": purchase["customer_id"],
        "shown_at": purchase["purchased_at"],
        "revenue": (number % 9_999 + 1) / 10_000_000,
        "currency": "USD",
        "network": ("applovin", "admob", "unity")[number % 3],
        "ad_unit": ("banner", "interstitial", "rewarded")[number // 3 % 3],
        "placement": ("menu", "shop")[number // 9 % 2],
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def load(url: str, until: datetime) -> int:
    """Replace the warehouse's tables; return how many purchases there are."""
    engine = sa.create_engine(url)
    rows = list(purchase_rows(until))
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        connection.execute(
            customers.insert(), [customer_row(name) for name in sorted({r["customer_id"] for r in rows})]
        )
        connection.execute(purchases.insert(), rows)
        connection.execute(ad_impressions.insert(), [impression_row(row) for row in rows[::4]])
    engine.dispose()
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="SQLAlchemy URL of the warehouse, such as sqlite:///warehouse.db")
    parser.add_argument("--until", type=datetime.fromisoformat, help="end of the last night (default: today 00:00 UTC)")
    arguments = parser.parse_args()
    until = arguments.until or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    print(f"{load(arguments.url, until):,} purchases loaded")


if __name__ == "__main__":
    main()
