"""Complete the software bill of materials that cyclonedx-py makes of an installation: `make release`.

    cyclonedx-py environment .venv-runtime/bin/python ... | python scripts/bill_of_materials.py .venv-runtime

It reads the bill and adds what an environment does not show: this package's own version, and the libraries that other wheels
bring inside themselves. The bill does not depend on the day, so the same releases on the
same platform give the same bill.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bundled_libraries import components, site_packages_of

import airflow_provider_adjust


def completed(bill: dict[str, Any], version: str, bundled: Iterable[tuple[str, dict[str, Any]]] = ()) -> dict[str, Any]:
    """Return the bill with the root's version, and what is bundled below its wheel."""
    root = bill["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    needs = {entry["ref"]: entry for entry in bill["dependencies"]}
    for wheel, component in bundled:
        bill["components"].append(component)
        needs[wheel].setdefault("dependsOn", []).append(component["bom-ref"])
        bill["dependencies"].append({"ref": component["bom-ref"]})
    return bill


def main() -> None:
    """Complete the bill on stdin, check it against the standard, and write it to stdout."""
    # Imported here, since only the group `release` installs it.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = completed(
        json.load(sys.stdin),
        airflow_provider_adjust.__version__,
        components(site_packages_of(Path(sys.argv[1]))),
    )
    text = json.dumps(bill, indent=2) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(text):
        raise SystemExit(f"the bill does not follow the CycloneDX standard: {wrong}")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
