"""The files that the campaigns send: purchases, with rows that are refused and devices that Adjust does not know."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


def write_rows(path: Path, name: str, count: int, chance: random.Random) -> tuple[set[str], list[str]]:
    """Write the file; return the ids that Adjust should have, and the devices that it does not know."""
    start = datetime.now(UTC) - timedelta(seconds=2 * count)
    devices = max(count // 4, 10)
    busy, unknown = [0, 1, 2], [devices - 1, devices - 2]
    expected = set()
    with path.open("w") as file:
        for place in range(count):
            # A few devices buy again and again at once, so that their lanes are always full.
            device = chance.choice(busy) if chance.random() < 0.05 else chance.randrange(devices)
            row: dict[str, Any] = {
                "order_id": f"{name}-order-{place}",
                "created_at": (start + timedelta(seconds=place)).isoformat(),
                "gps_adid": f"{name}-device-{device}",
                "revenue": f"{1 + place % 50}.25",
                "currency": "EUR",
            }
            if device % 10 == 0:
                # Two devices share the third id, so their lanes depend on one another.
                row |= {"adid": f"{name}-adid-{device}", "android_id": f"{name}-android-{device // 20}"}
            if chance.random() < 0.004:
                row |= chance.choice([{"currency": "XYZ"}, {"revenue": "many"}, {"gps_adid": "", "adid": ""}])
                row.pop("android_id", None)
            elif device not in unknown:
                expected.add(row["order_id"])
            file.write(json.dumps(row) + "\n")
    return expected, [f"{name}-device-{device}" for device in unknown]
