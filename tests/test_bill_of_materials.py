"""A release's bill of materials names what is in the wheel beside Python: `make release` makes and validates the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from bill_of_materials import CHART_LIBRARY, completed

import airflow_provider_adjust

PACKAGE = Path(airflow_provider_adjust.__file__).parent


def of_an_environment() -> dict[str, object]:
    """A bill as cyclonedx-py makes it, with one dependency."""
    root = {"bom-ref": "root-component", "name": "airflow-provider-adjust", "type": "library"}
    requests = {"bom-ref": "requests==2.32.0", "name": "requests", "type": "library", "version": "2.32.0"}
    return {
        "metadata": {"component": root},
        "components": [requests],
        "dependencies": [{"ref": "root-component", "dependsOn": ["requests==2.32.0"]}, {"ref": "requests==2.32.0"}],
    }


def test_the_bill_says_which_release_it_is_of() -> None:
    bill = completed(of_an_environment(), PACKAGE, "1.2.3")
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/airflow-provider-adjust@1.2.3"


def test_the_bill_has_the_chart_library_in_the_release_that_its_readme_names() -> None:
    bill = completed(of_an_environment(), PACKAGE, "1.2.3")
    chart_library = bill["components"][-1]
    readme = (PACKAGE / CHART_LIBRARY).with_name("README.md").read_text(encoding="utf-8")
    assert chart_library["purl"] == f"pkg:npm/uplot@{chart_library['version']}"
    assert readme.startswith(f"# uPlot {chart_library['version']}\n")
    assert bill["dependencies"][0]["dependsOn"] == ["requests==2.32.0", chart_library["bom-ref"]]
    assert {entry["ref"] for entry in bill["dependencies"]} == {
        "root-component",
        "requests==2.32.0",
        chart_library["bom-ref"],
    }


def test_a_chart_library_that_does_not_say_its_release_is_refused(tmp_path: Path) -> None:
    source = tmp_path / CHART_LIBRARY
    source.parent.mkdir(parents=True)
    source.write_text("var uPlot = 1;", encoding="utf-8")
    with pytest.raises(SystemExit, match="does not begin with uPlot's version"):
        completed(of_an_environment(), tmp_path, "1.2.3")
