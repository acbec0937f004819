"""The drivers of databases that are installed here, as marks and a fixture; see `scripts/own_warehouses.py`."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterator

import pytest
from own_warehouses import CONNECTION, DRIVERS, MODULES, POSTGRES_HOOK, Warehouse, is_installed, warehouse_of


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip the test where a driver or a hook is not installed."""
    missing = [module for module in modules if not is_installed(module)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}; see make test-warehouses")


def drivers(*names: str) -> pytest.MarkDecorator:
    """The fixture `warehouse` for each of the drivers."""
    given = [pytest.param(name, marks=needs(*MODULES[name])) for name in names]
    return pytest.mark.parametrize("warehouse", given, indirect=True)


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    driver = DRIVERS[request.param]
    # What a hook is made from is put back at the end.
    monkeypatch.setitem(os.environ, CONNECTION, "")
    monkeypatch.setattr(f"{POSTGRES_HOOK}.USE_PSYCOPG3", pkgutil.resolve_name(POSTGRES_HOOK).USE_PSYCOPG3)
    with warehouse_of(driver, request.getfixturevalue(f"{driver.server}_url")) as made:
        yield made
