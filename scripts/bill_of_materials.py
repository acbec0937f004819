"""Complete the software bill of materials that cyclonedx-py makes of an installation: `make release`.

It reads the bill and adds what an environment does not show: this package's own version, and the chart library in the
wheel. The bill depends neither on the day nor on the machine, so the same releases give the same bill.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import airflow_provider_adjust

CHART_LIBRARY = Path("deliveries_page/static/uplot/uPlot.iife.min.js")


def completed(bill: dict[str, Any], package: Path, version: str) -> dict[str, Any]:
    """Return the bill with the root's version and with the chart library among what the root depends on."""
    root = bill["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    chart_library = _chart_library(package / CHART_LIBRARY)
    bill["components"].append(chart_library)
    [of_root] = [entry for entry in bill["dependencies"] if entry["ref"] == root["bom-ref"]]
    of_root["dependsOn"].append(chart_library["bom-ref"])
    bill["dependencies"].append({"ref": chart_library["bom-ref"]})
    return bill


def _chart_library(source: Path) -> dict[str, Any]:
    found = re.match(r"/\*! https://github\.com/leeoniya/uPlot \(v([\d.]+)\) \*/", source.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{source} does not begin with uPlot's version")
    return {
        "type": "library",
        "bom-ref": f"uplot=={found[1]}",
        "name": "uplot",
        "version": found[1],
        "purl": f"pkg:npm/uplot@{found[1]}",
        "licenses": [{"license": {"id": "MIT", "acknowledgement": "declared"}}],
    }


def main() -> None:
    """Complete the bill on stdin, check it against the standard, and write it to stdout."""
    # Imported here, since only the group `release` installs it.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = completed(
        json.load(sys.stdin), Path(airflow_provider_adjust.__file__).parent, airflow_provider_adjust.__version__
    )
    text = json.dumps(bill, indent=2) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(text):
        raise SystemExit(f"the bill does not follow the CycloneDX standard: {wrong}")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
